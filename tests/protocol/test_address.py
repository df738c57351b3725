"""Where the daemon's things lie."""

import os
from pathlib import Path

from torcd.protocol.address import find_places


def test_relative_base_directories_are_ignored() -> None:
    """XDG Base Directory Specification; INTERFACE 1"""
    names = ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR")
    places = find_places({"HOME": "/home/ann", **dict.fromkeys(names, "here")})
    assert places == find_places({"HOME": "/home/ann"})
    assert places.database == Path("/home/ann/.local/state/torc/torc.db")
    assert places.socket == Path(f"/tmp/torc-{os.getuid()}/torcd.sock")
    assert find_places({"HOME": "/home/ann", "XDG_STATE_HOME": "/state"}).database == Path("/state/torc/torc.db")
