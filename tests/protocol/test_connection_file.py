"""The connection file: what it says, and of what it can be known whether its daemon lives (INTERFACE 1)."""

import os
import socket
from pathlib import Path

import msgspec
import pytest

from torcd.protocol.address import Address, find_places, parse_url, tcp_url
from torcd.protocol.connection_file import ConnectionFile, read_boot_id, read_connection_file
from torcd.protocol.errors import Refused
from torcd.protocol.private_files import write_private
from torcd.protocol.requests import Hello

GOLDEN = (
    b'{"host":"head","boot_id":"4e8f0f3a-0000-4000-8000-000000000000","pid":4711,"database":"/h/torc.db",'
    b'"socket":"/run/torcd.sock","addresses":["head","10.0.0.1","fd00::1"],"port":7000,"token":"secret",'
    b'"fingerprint":"ab"}'
)
"""As version 0.1.0 writes it: must load for ever."""


def named(**fields: object) -> ConnectionFile:
    own = {"host": socket.gethostname(), "boot_id": read_boot_id(), "pid": os.getpid()}
    return msgspec.convert({**own, "database": "/d", "socket": "/s", **fields}, ConnectionFile)


def test_what_was_written_once_is_read_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "connect.json"
    write_private(path, GOLDEN)
    file = read_connection_file(path)
    assert file is not None
    assert msgspec.json.encode(file) == GOLDEN
    assert [way.url for way in file.find_ways(path)] == [
        "wss://head:7000",
        "wss://10.0.0.1:7000",
        "wss://[fd00::1]:7000",
    ]
    assert {(way.token, way.fingerprint, way.file) for way in file.find_ways(path)} == {("secret", "ab", str(path))}


def test_a_newer_daemons_fields_do_no_harm(tmp_path: Path) -> None:
    write_private(tmp_path / "connect.json", GOLDEN[:-1] + b',"novelty":[1]}')
    assert read_connection_file(tmp_path / "connect.json") is not None


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"\xff", b"[]", GOLDEN[:40], GOLDEN.replace(b"4711", b'"x"'), GOLDEN.replace(b"token", b"taken")],
)
def test_what_is_no_connection_file_is_refused_without_quoting_it(tmp_path: Path, content: bytes) -> None:
    write_private(tmp_path / "connect.json", content)
    with pytest.raises(Refused, match="remove it") as caught:
        read_connection_file(tmp_path / "connect.json")
    assert "secret" not in caught.value.message
    assert "`torcctl daemon rotate-token`" in caught.value.message


def test_one_that_others_can_read_is_refused_with_the_way_to_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "connect.json"
    write_private(path, GOLDEN)
    path.chmod(0o644)
    with pytest.raises(Refused, match="open to other users") as caught:
        read_connection_file(path)
    assert "`torcctl daemon rotate-token`" in caught.value.message


def test_without_a_file_there_is_none(tmp_path: Path) -> None:
    assert read_connection_file(tmp_path / "connect.json") is None


def test_a_daemon_is_known_to_be_dead_on_its_own_host_only() -> None:
    assert not named().is_of_dead
    assert named(pid=2**22 + 1).is_of_dead, "no such process"
    assert named(boot_id="before").is_of_dead, "the host has started anew"
    assert not named(host="other", boot_id="theirs", pid=2**22 + 1).is_of_dead
    container = named(host="other", pid=2**22 + 1)
    assert not container.is_of_dead, "its processes have other numbers"
    assert container.is_of_this_boot
    assert not container.is_here


def test_without_a_listener_there_is_no_way() -> None:
    assert named(addresses=["head"]).find_ways(Path("/c")) == []


@pytest.mark.parametrize("host", ["head", "10.0.0.1", "fd00::1"])
def test_a_tcp_address_is_read_as_it_was_written(host: str) -> None:
    endpoint = parse_url(tcp_url(host, 7000))
    assert (endpoint.host, endpoint.port, endpoint.tls) == (host, 7000, True)


def test_no_token_is_in_what_may_be_logged() -> None:
    places = find_places({"HOME": "/h", "TORC_TOKEN": "secret"})
    hello = Hello(protocol=1, client="c", version="1", token="secret")
    for secretive in (named(token="secret"), Address(url="u", token="secret"), places, hello):
        assert "secret" not in repr(secretive)


def test_settings_of_remote_access_are_flag_then_environment_then_file(tmp_path: Path) -> None:
    """INTERFACE 1 (flag > environment > config file)"""
    config = tmp_path / ".config" / "torc" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('listen = "file:1"\nfingerprint = "file"\nconnection_file = "/file"\n')
    environ = {"HOME": str(tmp_path)}
    found = find_places(environ)
    assert (found.listen, found.fingerprint, found.connection_file) == ("file:1", "file", Path("/file"))
    environ |= {"TORCD_LISTEN": "env:1", "TORC_FINGERPRINT": "env", "TORCD_CONNECTION_FILE": "/env"}
    found = find_places(environ)
    assert (found.listen, found.fingerprint, found.connection_file) == ("env:1", "env", Path("/env"))
    assert find_places(environ, listen="off").listen == "off"
    assert find_places({"HOME": "/h"}).listen == "auto"
    assert find_places({"HOME": "/h"}).certificate == Path("/h/.local/state/torc/tls.pem")


def test_a_token_in_a_config_file_that_others_read_is_refused(tmp_path: Path) -> None:
    config = tmp_path / ".config" / "torc" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('token = "secret"\n')
    config.chmod(0o644)
    with pytest.raises(Refused, match="chmod 600") as caught:
        find_places({"HOME": str(tmp_path)})
    assert "secret" not in caught.value.message
    config.chmod(0o600)
    assert find_places({"HOME": str(tmp_path)}).token == "secret"
