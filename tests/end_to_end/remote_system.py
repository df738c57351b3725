"""A daemon that listens for other hosts, and clients that see it as those do."""

import json
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

from real_system import PATIENCE_S, System

from torcd.protocol.address import tcp_url
from torcd.protocol.connection_file import ConnectionFile, read_connection_file
from torcd.protocol.tls import client_context

LOOPBACK = "127.0.0.1:0"
HOST = """
import os, socket, sys
socket.gethostname = lambda: {name!r}
from torcd.protocol import connection_file
connection_file.read_boot_id = lambda: {boot!r}
sys.argv[0] = {program!r}
from {program}.__main__ import main
main()
"""
"""Has a program take its host for another one: name and kernel are all that tells hosts apart."""


class Remote:
    """A System's daemon as other hosts see it: by its TCP port and by the home that they share."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.path = system.database.with_name("connect.json")
        self.environ = {**system.environ, "TORCD_SOCKET": str(system.socket.with_name("elsewhere.sock"))}
        """Of a client on another host: its own runtime directory is empty."""

    @property
    def file(self) -> ConnectionFile:
        """What the connection file says."""
        found = read_connection_file(self.path)
        assert found is not None
        return found

    @property
    def url(self) -> str:
        port = self.file.port
        assert port is not None
        return tcp_url("127.0.0.1", port)

    def start_daemon(self, listen: str = LOOPBACK, **env: str) -> "subprocess.Popen[bytes]":
        return self.system.start_daemon("--listen", listen, env=env)

    def torcctl(self, *args: object, check: bool = True, json: bool = False, env: dict[str, str] | None = None) -> Any:
        """Runs a command as on another host."""
        return self._run(self.spawn, *args, check=check, as_json=json, env=env)

    def _run(self, spawn: Any, *args: object, check: bool, as_json: bool, env: dict[str, str] | None) -> Any:
        child = spawn(*(["-f", "json"] if as_json else []), *args, env=env)
        out, err = child.communicate(timeout=PATIENCE_S)
        if check:
            assert child.returncode == 0, f"{args}: {out} {err}"
        return json.loads(out) if as_json and check else (child.returncode, out, err)

    def spawn(self, *args: object, env: dict[str, str] | None = None) -> "subprocess.Popen[str]":
        """A torcctl as on another host, which runs on."""
        return self.spawn_program("torcctl", "node1", *args, env=env)

    def spawn_program(
        self, program: str, host: str, *args: object, env: dict[str, str] | None = None
    ) -> "subprocess.Popen[str]":
        """A program that takes its host for `host`, under a kernel of its own."""
        child = subprocess.Popen(
            [*on_host(program, host), *map(str, args)],
            cwd=self.system.work,
            env={**self.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.system.adopt(child)
        return child

    def open_plain(self) -> socket.socket:
        """A TCP connection on which nothing was said."""
        stream = socket.create_connection(("127.0.0.1", self.file.port or 0), PATIENCE_S)
        stream.settimeout(PATIENCE_S)
        return stream

    def open_tls(self) -> ssl.SSLSocket:
        """A TCP connection on which the TLS handshake is done."""
        return client_context().wrap_socket(self.open_plain())


def on_host(program: str, host: str) -> list[str]:
    """The words that start a program which takes its host for `host`, under a kernel of its own."""
    return [sys.executable, "-c", HOST.format(name=host, boot=f"boot of {host}", program=program)]


def words_of(pid: int) -> bytes:
    """What everybody on this host sees of a process: its command line."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def environment_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def received_to_the_end(stream: socket.socket) -> bytes:
    """All that comes before the daemon hangs up, in order or not."""
    received = b""
    try:
        while data := stream.recv(65536):
            received += data
    except (ConnectionError, ssl.SSLError):
        pass
    return received
