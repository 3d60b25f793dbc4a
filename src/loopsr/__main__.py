"""``python -m loopsr`` is the command line."""

import sys

from loopsr.cli import main

if __name__ == "__main__":
    sys.exit(main())
