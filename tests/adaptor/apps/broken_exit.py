# Can't be imported, and its reason has two lines.

import sys

sys.exit('no settings:\n  SECRET is not set')
