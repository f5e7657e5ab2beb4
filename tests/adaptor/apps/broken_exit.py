# Exits at its import, with a reason of two lines.

import sys

sys.exit('no settings:\n  SECRET is not set')
