"""Whether and where there is a TCP listener, and under which addresses it is found."""

import socket
from pathlib import Path

import pytest

from torcd.api import tcp
from torcd.api.certificate import open_certificate
from torcd.api.tcp import EVERYWHERE, Listen, find_addresses, open_tcp_listener, plan_listen
from torcd.protocol.errors import Refused


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """The file system of the state directory, and where sbatch is."""
    found: dict[str, str | None] = {"file system": "ext4", "sbatch": None}
    monkeypatch.setattr(tcp, "find_file_system", lambda directory: found["file system"])
    monkeypatch.setattr(tcp.shutil, "which", lambda name: found[name])
    return found


def test_nobody_is_listened_to_on_a_laptop(surroundings: dict[str, str | None]) -> None:
    assert plan_listen("auto", Path("/h/connect.json")) is None
    surroundings["file system"] = "unknown"
    assert plan_listen("auto", Path("/h/connect.json")) is None


@pytest.mark.parametrize("kind", ["nfs4", "lustre", "gpfs", "beegfs"])
def test_a_home_that_hosts_share_has_a_listener(surroundings: dict[str, str | None], kind: str) -> None:
    surroundings["file system"] = kind
    assert plan_listen("auto", Path("/h/connect.json")) == EVERYWHERE
    assert plan_listen("off", Path("/h/connect.json")) is None


def test_slurm_has_hosts(surroundings: dict[str, str | None]) -> None:
    surroundings["sbatch"] = "/usr/bin/sbatch"
    assert plan_listen("auto", Path("/h/connect.json")) == EVERYWHERE
    assert plan_listen("off", Path("/h/connect.json")) is None


@pytest.mark.parametrize(
    ("setting", "listen"),
    [
        (":0", Listen("", 0)),
        ("*:7000", Listen("", 7000)),
        ("0.0.0.0:7000", Listen("", 7000)),
        ("[::]:7000", Listen("", 7000)),
        ("head:7000", Listen("head", 7000)),
        ("127.0.0.1:0", Listen("127.0.0.1", 0)),
        ("[::1]:0", Listen("::1", 0)),
    ],
)
def test_an_address_is_taken_at_its_word(setting: str, listen: Listen) -> None:
    assert plan_listen(setting, Path("/")) == listen


@pytest.mark.parametrize(
    "setting", ["", "head", "7000", "head:", "head:x", "head:70000", "wss://head:1", "a:1/b", "on"]
)
def test_what_is_no_address_is_refused(setting: str) -> None:
    with pytest.raises(Refused, match="HOST:PORT"):
        plan_listen(setting, Path("/"))


async def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    context = open_certificate(tmp_path / "tls.pem").context
    async with open_tcp_listener(Listen("127.0.0.1", 0), context) as first:
        _, port = find_addresses(first)
        with pytest.raises(Refused, match="TORCD_LISTEN"):
            open_tcp_listener(Listen("127.0.0.1", port), context)
    with pytest.raises(Refused, match="cannot listen at no"):
        open_tcp_listener(Listen("no.such.host.invalid", 0), context)


async def test_a_listener_at_one_address_is_found_there_only(tmp_path: Path) -> None:
    context = open_certificate(tmp_path / "tls.pem").context
    async with open_tcp_listener(Listen("127.0.0.1", 0), context) as listener:
        addresses, port = find_addresses(listener)
        assert addresses == ["127.0.0.1"]
        assert port > 0


async def test_one_at_all_addresses_is_found_by_name_and_by_number_but_not_by_loopback(tmp_path: Path) -> None:
    context = open_certificate(tmp_path / "tls.pem").context
    async with open_tcp_listener(EVERYWHERE, context) as listener:
        addresses, port = find_addresses(listener)
        assert addresses[0] == socket.gethostname()
        assert not {"127.0.0.1", "::1", "0.0.0.0", "::"} & set(addresses)
        for host in ("127.0.0.1", *(["::1"] if socket.has_dualstack_ipv6() else [])):
            socket.create_connection((host, port), 5).close()
