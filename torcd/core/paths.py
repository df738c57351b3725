"""Paths as specifications and documents write them, relative to the submission directory, and as they are used."""

import posixpath
import re

_REDUNDANT = re.compile(r"/(?:\.?/)+")


def base_of(directory: str) -> str:
    """What relative paths of a submission directory are put after."""
    return posixpath.join(directory, "")


def find_output_dir(directory: str, workflow_id: int) -> str:
    """Where logs, and batch scripts, of a workflow that was submitted in this directory go (SEMANTICS 8.2)."""
    return posixpath.join(directory, ".torc", str(workflow_id))


def resolve_path(path: str, base: str) -> str:
    """The absolute path.

    Only what never means anything is removed, `.` and doubled slashes: `..` after a symbolic link leads elsewhere
    than the text says.
    """
    if path[0:1] != "/":
        path = base + path
    if "//" in path or "/." in path:
        path = _REDUNDANT.sub("/", path)
    return path


def relate_path(path: str, base: str) -> str:
    """What `resolve_path` makes this absolute path of; a path that is not below the directory stays absolute."""
    return path[len(base) :] or "./" if path.startswith(base) else path
