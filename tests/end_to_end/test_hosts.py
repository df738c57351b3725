"""A head node and two others, each with a network of its own and a home in common (INTERFACE 1, 4)."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from network import Network, why_not
from real_system import PATIENCE_S, System, ask
from remote_system import Remote, on_host

from torcd.protocol.address import tcp_url
from torcd.protocol.requests import Subscribe

pytestmark = pytest.mark.skipif((WHY := why_not()) is not None, reason=str(WHY))

GATES: dict[str, Any] = {
    "name": "gates",
    "jobs": [
        {
            "name": f"job{n}",
            "command": f"echo $(hostname) > started{n}; read go < gate{n}; torcctl workflows get > seen{n}",
        }
        for n in (1, 2)
    ],
}


class Cluster:
    """The hosts and what runs on them."""

    def __init__(self, system: System, network: Network) -> None:
        self.system = system
        self.network = network
        self.remote = Remote(system)

    def start_daemon(self) -> None:
        """Starts torcd on the head node, as with a home that the hosts share."""
        daemon = self.spawn("head", "torcd", "--listen", ":0", env=self.system.environ)
        while not self.remote.path.exists():
            with suppress(subprocess.TimeoutExpired):
                pytest.fail(f"torcd ended with {daemon.wait(0.02)}: {daemon.communicate()}")
        self.daemon = daemon

    def spawn(
        self, host: str, program: str, *args: object, env: dict[str, str] | None = None
    ) -> "subprocess.Popen[str]":
        """Starts a program on a host."""
        child = subprocess.Popen(
            [*self.network.enter(host), *on_host(program, host), *map(str, args)],
            cwd=self.system.work,
            env=env or self.remote.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.system.adopt(child)
        return child

    def torcctl(self, host: str, *args: object) -> tuple[int, str, str]:
        child = self.spawn(host, "torcctl", *args)
        out, err = child.communicate(timeout=PATIENCE_S)
        return child.returncode, out, err


@pytest.fixture
def cluster(alone: System) -> Iterator[Cluster]:
    network = Network(["node1", "node2"])
    try:
        yield Cluster(alone, network)
    finally:
        alone.close()
        network.close()


def test_workers_on_two_nodes_run_a_workflow_of_the_head_node(cluster: Cluster) -> None:
    """With no configuration but the home: also the jobs find the daemon."""
    system = cluster.system
    cluster.start_daemon()
    file = cluster.remote.file
    assert file.host == "head"
    assert cluster.network.addresses["head"] in file.addresses
    workflow_id = system.create(GATES)
    pipes = {name: system.pipe(name) for name in ("started1", "started2", "gate1", "gate2")}
    workers = [
        cluster.spawn(node, "torcctl", "run", workflow_id, "--max-parallel-jobs", 1) for node in ("node1", "node2")
    ]
    hosts = {pipes[f"started{number}"].read_line() for number in (1, 2)}
    assert hosts == {"node1", "node2"}
    for number in (1, 2):
        pipes[f"gate{number}"].write_line()
    for worker in workers:
        out, err = worker.communicate(timeout=PATIENCE_S)
        assert worker.returncode == 0, err
        assert out == f"Workflow {workflow_id}: 2 completed\n"
    assert "gates" in system.read("seen1")
    assert "gates" in system.read("seen2")


def test_a_pulled_cable_loses_nothing(cluster: Cluster) -> None:
    """What ended while a node was cut off is told when it is back (SEMANTICS 8.4)."""
    system = cluster.system
    cluster.start_daemon()
    workflow_id = system.create({**GATES, "jobs": GATES["jobs"][:1]})
    started, gate = system.pipe("started1"), system.pipe("gate1")
    worker = cluster.spawn("node1", "torcctl", "run", workflow_id)
    assert started.read_line() == "node1"
    cluster.network.cut("node1")
    refused = cluster.torcctl("node1", "workflows", "list")
    assert refused[0] == 5
    assert "torcd runs on host head" in refused[2]
    cluster.network.join("node1")
    gate.write_line()
    out, err = worker.communicate(timeout=PATIENCE_S)
    assert (worker.returncode, out) == (0, f"Workflow {workflow_id}: 1 completed\n"), err
    assert system.attempts(workflow_id) == {"job1": 1}


def test_a_node_that_vanishes_is_noticed_and_its_worker_notices_within_half_a_lease(cluster: Cluster) -> None:
    """No goodbye comes from either side: of a worker with a job, the lease begins all the same (SEMANTICS 8.4)."""
    system = cluster.system
    system.environ["TORCD_LEASE"] = "4"
    cluster.start_daemon()
    workflow_id = system.create({**GATES, "jobs": GATES["jobs"][:1]})
    started = system.pipe("started1")
    system.pipe("gate1")
    events = system.connect()
    ask(events, Subscribe(workflow_id=workflow_id))

    def wait_for(status: str) -> None:
        while system.statuses(workflow_id) != {"job1": status}:
            assert events.receive(PATIENCE_S) is not None

    worker = cluster.spawn("node1", "torcctl", "run", workflow_id)
    assert started.read_line() == "node1"
    wait_for("running")
    before_cut = time.monotonic()
    cluster.network.cut("node1")
    cut_at = time.monotonic()
    assert worker.stderr is not None
    while "lost torcd" not in (line := worker.stderr.readline()):
        assert line
    noticed_after_s = time.monotonic() - cut_at
    wait_for("terminated")
    lost_at = time.monotonic()
    assert noticed_after_s < 20, "half a lease is 2 s, and this machine may be busy; half of the usual one is 30 s"
    assert lost_at - before_cut > 5, "half a lease, and the lease"
    assert lost_at - cut_at < 45


def test_a_socket_of_another_host_is_not_taken_for_ours(cluster: Cluster) -> None:
    """The file names a Unix socket, which is for the daemon's own host only."""
    cluster.start_daemon()
    code, out, err = cluster.torcctl("node2", "-f", "json", "daemon", "status")
    assert code == 0, err
    assert json.loads(out)["remote_url"] == tcp_url("head", cluster.remote.file.port or 0)
    cluster.network.cut("node2")
    assert cluster.torcctl("node2", "--no-autostart", "daemon", "status")[0] == 5
