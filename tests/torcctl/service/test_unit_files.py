"""The unit files as they are written, without a service manager."""

from pathlib import Path

import pytest

from torcctl.service.unit_files import (
    PACKAGED,
    SERVICE,
    SOCKET,
    is_ours,
    render_service,
    render_socket,
    serves,
    start_command,
    unit_directory,
    version_of,
)
from torcd import __version__
from torcd.protocol.address import Places, find_places
from torcd.protocol.errors import Refused

ENVIRON = {"HOME": "/home/me", "XDG_RUNTIME_DIR": "/run/user/7"}
COMMAND = ("/opt/v/bin/python", "-m", "torcd")


def places(**more: str) -> Places:
    return find_places({**ENVIRON, **more})


def lines_of(text: str, start: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(start)]


def test_only_the_lines_that_name_the_installation_differ_from_what_is_packaged() -> None:
    """The units of the repository's systemd/ are the same files."""
    for name, text in (
        (SERVICE, render_service(COMMAND, places(), ENVIRON)),
        (SOCKET, render_socket(places(), ENVIRON)),
    ):
        packaged = (PACKAGED / name).read_text().splitlines()
        assert (Path(__file__).parents[3] / "systemd" / name).read_text().splitlines() == packaged
        own = [line for line in text.splitlines()[1:] if line not in packaged]
        assert all(
            line.startswith(("ExecStart=", 'Environment="TORCD_', "StandardOutput=append:/home/me/")) for line in own
        ), own
        gone = [line for line in packaged if line not in text.splitlines()]
        assert gone == (["ExecStart=%h/.local/bin/torcd"] if name == SERVICE else [])


def test_the_places_of_the_user_are_fixed() -> None:
    text = render_service(COMMAND, places(), ENVIRON)
    assert lines_of(text, "Environment=") == [
        'Environment="TORCD_DATABASE=/home/me/.local/state/torc/torc.db"',
        'Environment="TORCD_SOCKET=%t/torc/torcd.sock"',
    ]
    environ = {**ENVIRON, "XDG_STATE_HOME": "/s", "TORCD_OTHER": "x", "PATH": "/bin", "TORC_URL": "y"}
    text = render_service(COMMAND, find_places(environ), environ)
    assert lines_of(text, "Environment=")[2:] == ['Environment="TORCD_OTHER=x"', 'Environment="XDG_STATE_HOME=/s"']
    assert lines_of(render_socket(places(TORCD_SOCKET="/s/x.sock"), ENVIRON), "Listen") == ["ListenStream=/s/x.sock"]


def test_what_systemd_would_take_for_something_else_is_escaped() -> None:
    odd = places(TORCD_DATABASE='/a b/50%/"x\\.db')
    text = render_service(("/o p/50%$/python", "-m", "a$b"), odd, ENVIRON)
    assert lines_of(text, "ExecStart=") == ['ExecStart="/o p/50%%$/python" -m a$$b']
    assert lines_of(text, "Environment=")[0] == 'Environment="TORCD_DATABASE=/a b/50%%/\\"x\\\\.db"'
    assert start_command(text) == "/o p/50%$/python"
    with pytest.raises(Refused, match="cannot stand in a unit file"):
        render_service(COMMAND, places(TORCD_DATABASE="/a\nExecStartPre=/bin/false"), ENVIRON)


def test_a_unit_is_for_the_places_for_which_it_was_written() -> None:
    text = render_service(COMMAND, places(), ENVIRON)
    assert serves(text, places(), ENVIRON)
    assert not serves(text, places(TORCD_DATABASE="/other.db"), ENVIRON)
    assert not serves(text, places(TORCD_SOCKET="/other.sock"), ENVIRON)
    packaged = (PACKAGED / SERVICE).read_text()
    assert not serves(packaged, places(), ENVIRON)
    assert (is_ours(text), is_ours(packaged)) == (True, False)
    assert (version_of(text), version_of(packaged)) == (__version__, None)


def test_units_lie_where_the_configuration_lies() -> None:
    assert unit_directory({"HOME": "/h"}) == Path("/h/.config/systemd/user")
    assert unit_directory({"HOME": "/h", "XDG_CONFIG_HOME": "/c"}) == Path("/c/systemd/user")
