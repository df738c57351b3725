"""Where the daemon's things lie."""

import os
from pathlib import Path

import pytest

from torcd.protocol.address import find_places
from torcd.protocol.errors import Refused


def test_a_database_that_is_a_symbolic_link_is_the_one_it_leads_to(tmp_path: Path) -> None:
    """Its log and its lock lie beside the real one: else two daemons could have it at once."""
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "real" / "torc.db")
    places = find_places({"HOME": str(tmp_path), "TORCD_DATABASE": str(link)})
    assert places.database == tmp_path / "real" / "torc.db"
    assert places.lock == tmp_path / "real" / "torc.db.lock"


def test_a_database_that_cannot_be_looked_at_is_refused_with_what_to_set(tmp_path: Path) -> None:
    """As with the HOME of another user, which `su` and `sudo` may leave."""
    circle = tmp_path / "circle.db"
    circle.symlink_to(circle)
    for path in (circle, Path("/" + "x" * 300)):
        with pytest.raises(Refused, match="cannot be looked at") as caught:
            find_places({"HOME": str(tmp_path), "TORCD_DATABASE": str(path)})
        assert "TORCD_DATABASE" in caught.value.message


def test_relative_base_directories_are_ignored() -> None:
    """XDG Base Directory Specification; INTERFACE 1"""
    names = ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR")
    places = find_places({"HOME": "/home/ann", **dict.fromkeys(names, "here")})
    assert places == find_places({"HOME": "/home/ann"})
    assert places.database == Path("/home/ann/.local/state/torc/torc.db")
    assert places.socket == Path(f"/tmp/torc-{os.getuid()}/torcd.sock")
    assert find_places({"HOME": "/home/ann", "XDG_STATE_HOME": "/state"}).database == Path("/state/torc/torc.db")
