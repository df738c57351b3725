"""`torcctl`, and `python -m torcctl`."""

import os
import sys
from contextlib import suppress

from torcctl.streams import open_streams


def main() -> None:
    """Runs the command line and exits with its code."""
    open_streams()
    argv = sys.argv[1:]
    if argv in (["--help"], ["-h"]):  # as `app` would, without importing what it needs for commands
        from torcctl.root import root_help

        with suppress(OSError):  # then `app` tries again, and tells what is in the way
            print(root_help(), flush=True)
            return
    from torcctl.app import run

    sys.exit(run(argv, os.environ))


if __name__ == "__main__":
    main()
