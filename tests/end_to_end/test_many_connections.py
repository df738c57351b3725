"""A daemon that runs out of descriptors for connections says so, and goes on (INTERFACE 4)."""

import resource
import time
from pathlib import Path

import pytest
from real_system import PATIENCE_S, System

from torcd.api.limits import Limits
from torcd.descriptors import fit
from torcd.protocol.client import Connection, connect
from torcd.protocol.errors import Unavailable

HARD = 128


def connected(system: System) -> Connection:
    """A connection as soon as the daemon has noticed that another one has gone."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return connect(system.url)
        except Unavailable:
            assert time.monotonic() < deadline


def test_the_soft_limit_is_raised_and_one_connection_too_many_is_told(alone: System) -> None:
    """INTERFACE 4"""
    daemon = alone.start_daemon(before_exec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, HARD)))
    limits = Path(f"/proc/{daemon.pid}/limits").read_text()
    (line,) = (line for line in limits.splitlines() if line.startswith("Max open files"))
    assert line.split()[3:5] == [str(HARD), str(HARD)]
    most = fit(Limits(), HARD).connections
    connections: list[Connection] = []
    try:
        for _ in range(most):
            connections.append(connect(alone.url))
        with pytest.raises(Unavailable, match="too many connections"):
            connect(alone.url)
        ran = alone.torcctl("workflows", "list", check=False)
        assert ran.code == 1
        assert "too many connections" in ran.err
        connections.pop().close()
        connections.append(connected(alone))
    finally:
        for connection in connections:
            connection.close()
    log = alone.log.read_text()
    assert f"at most {most} connections are served" in log
    assert "Traceback" not in log
