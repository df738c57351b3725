"""Hosts as network namespaces: each with a name, an address and interfaces of its own, and no way out.

Everything is inside one private network namespace, so no packet leaves the machine, and all of it vanishes with the
last process that holds it. Needs root, CAP_SYS_ADMIN and iproute2.
"""

import os
import select
import shutil
import subprocess
import sys
from collections.abc import Sequence

NET = "10.213.201"
PATIENCE_S = 30.0

_HOLD = "import os, sys; os.write(1, b'x'); sys.stdin.read()"
"""Keeps a namespace until its standard input is closed."""


def why_not() -> str | None:
    """Why there can be no namespaces here; None when there can."""
    if shutil.which("ip") is None or shutil.which("nsenter") is None:
        return "needs the programs ip (iproute2) and nsenter"
    tried = subprocess.run(
        [
            "unshare",
            "--net",
            "--uts",
            "sh",
            "-c",
            "ip link add veth0 type veth peer name veth1 && ip link add br0 type bridge",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    return None if tried.returncode == 0 else f"needs CAP_SYS_ADMIN for network namespaces: {tried.stderr.strip()}"


class Network:
    """A switch with hosts at it: `head` and as many nodes as are wanted."""

    def __init__(self, nodes: Sequence[str]) -> None:
        self._holders: dict[str, subprocess.Popen[bytes]] = {}
        self.addresses: dict[str, str] = {}
        self._hold("switch")
        self._on("switch", "ip link add br0 type bridge && ip link set br0 up")
        for number, name in enumerate(("head", *nodes), 1):
            self._hold(name)
            self.addresses[name] = f"{NET}.{number}"
            pid = self._holders[name].pid
            self._on("switch", f"ip link add port{number} type veth peer name eth0 netns {pid}")
            self._on("switch", f"ip link set port{number} master br0 up")
            self._on(name, f"ip link set lo up; ip addr add {NET}.{number}/24 dev eth0; ip link set eth0 up")

    def _hold(self, name: str) -> None:
        script = f'hostname {name} && exec {sys.executable} -S -c "{_HOLD}"'
        holder = subprocess.Popen(
            ["unshare", "--net", "--uts", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._holders[name] = holder
        assert holder.stdout is not None
        ready, _, _ = select.select([holder.stdout], [], [], PATIENCE_S)
        assert ready, f"no namespace for {name}"
        assert os.read(holder.stdout.fileno(), 1) == b"x", f"no namespace for {name}"

    def _on(self, name: str, script: str) -> None:
        subprocess.run([*self.enter(name), "sh", "-ec", script], check=True, timeout=PATIENCE_S)

    def enter(self, name: str) -> list[str]:
        """The words before a command that have it run on a host."""
        return ["nsenter", f"--target={self._holders[name].pid}", "--net", "--uts"]

    def cut(self, name: str) -> None:
        """Pulls a host's cable."""
        self._on("switch", f"ip link set port{self.addresses[name].rpartition('.')[2]} down")

    def join(self, name: str) -> None:
        """Puts the cable back."""
        self._on("switch", f"ip link set port{self.addresses[name].rpartition('.')[2]} up")

    def close(self) -> None:
        """Gives the namespaces up; they go when nothing runs in them any more."""
        for holder in self._holders.values():
            assert holder.stdin is not None
            assert holder.stdout is not None
            holder.stdin.close()
            holder.stdout.close()
            holder.wait(PATIENCE_S)
