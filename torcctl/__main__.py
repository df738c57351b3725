"""`torcctl`, and `python -m torcctl`."""

import os
import sys


def main() -> None:
    """Runs the command line and exits with its code."""
    argv = sys.argv[1:]
    if argv in (["--help"], ["-h"]):  # as `app` would, without importing what it needs for commands
        from torcctl.root import root_help

        print(root_help())
        return
    from torcctl.app import run

    sys.exit(run(argv, os.environ))


if __name__ == "__main__":
    main()
