"""What the tests edit."""

VERSION = '000'
