"""`python -m rlft` is `rlft`."""

import sys

from rlft.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
