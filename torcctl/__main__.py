"""`torcctl`, and `python -m torcctl`."""

import os
import sys

from torcctl.app import run


def main() -> None:
    """Runs the command line and exits with its code."""
    sys.exit(run(sys.argv[1:], os.environ))


if __name__ == "__main__":
    main()
