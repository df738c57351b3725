"""`torcctl`, and `python -m torcctl`."""

import os
import signal
import sys
from contextlib import suppress

from torcctl.streams import open_streams


def main() -> None:
    """Runs the command line and exits with its code.

    Ctrl-C before and after the command, while modules are imported and Python ends, is no news to be told with a trace.
    """
    in_command = signal.getsignal(signal.SIGINT)
    if in_command is signal.default_int_handler:  # else it is ignored, as of a job in the background
        signal.signal(signal.SIGINT, _leave)
    open_streams()
    argv = sys.argv[1:]
    if argv in (["--help"], ["-h"]):  # as `app` would, without importing what it needs for commands
        from torcctl.root import root_help

        with suppress(OSError):  # then `app` tries again, and tells what is in the way
            print(root_help(), flush=True)
            return
    from torcctl.app import run

    try:
        around = signal.signal(signal.SIGINT, in_command)
        code = run(argv, os.environ)
        signal.signal(signal.SIGINT, around)
    except KeyboardInterrupt:  # in the moment before or after
        code = _code_of(signal.SIGINT)
    sys.exit(code)


def _leave(number: int, frame: object) -> None:
    os._exit(_code_of(number))


def _code_of(number: int) -> int:
    return 128 + number  # as a shell has it, and `exits`, which is not imported yet


if __name__ == "__main__":
    main()
