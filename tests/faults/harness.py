"""A daemon, workers, jobs and clients as real processes, and everything that can befall them, from one seed.

The seed fixes the workflows, which actions are taken in which order, with which numbers and pauses; how the processes
interleave is the kernel's affair. A violated invariant ends the run; its message names the seed.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from cutting_proxy import Acknowledged, CuttingProxy
from invariants import Invariants, Violation
from real_system import System, ask
from wall_clock import WallClock

from torcd.core.status import StatusReason
from torcd.protocol.client import connect
from torcd.protocol.errors import TorcError
from torcd.protocol.requests import GetStatus, Initialize, Operation, Request, ResetStatus, Restart, WaitTask
from torcd.protocol.sync import SyncStatus

LEASE_S = 1.5
PAUSE_S = 0.2
"""Between actions, on the average: something has to be under way when the next one comes."""
MOST_WORKERS = 4
MOST_CLIENTS = 4
PATIENCE_S = 90.0
"""For a client to end: longer than the 30 s for which it looks for a daemon, on a machine that is busy otherwise."""
CODES = {0, 1, 4, 5, 6, 7}
"""With which a client may end when its daemon comes and goes: not with a usage error, not with something unknown."""
JOB = Path(__file__).with_name("job.sh")

NOTE = 'echo "$TORC_WORKFLOW_ID $TORC_ACTION" >> "$FAULTS_JOURNAL/actions"'

RETRIES_AND_ACTIONS = {
    "failure_handlers": [
        {
            "name": "again",
            "rules": [{"match_all_exit_codes": True, "max_retries": 10_000, "recovery_script": "sleep 0.05"}],
        }
    ],
    "actions": [
        {"trigger_type": trigger, "action_type": "run_commands", "commands": ["sleep 0.1", NOTE], **about}
        for trigger, about in (
            ("on_workflow_start", {}),
            ("on_workflow_complete", {}),
            ("on_jobs_ready", {"jobs": ["join"]}),
            ("on_jobs_complete", {"job_name_regexes": ["make.*"]}),
        )
    ],
}
"""Of every workflow; each time that an action is carried out it tells the journal."""

Luck = tuple[float, float, float]
"""The numbers that an action may use."""


class Child:
    """A torcctl that was started, with what it says in files."""

    def __init__(self, system: System, name: str, words: list[str], environ: dict[str, str], directory: Path) -> None:
        self.name = name
        self.words = words
        self.started_at = time.monotonic()
        self.stopped_s = 0.0
        self.was_killed = False
        self._out = directory / name
        with self._out.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "torcctl", *words],
                cwd=system.work,
                env={**system.environ, **environ},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        system._children.append(self.process)

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def said(self) -> str:
        """What it printed."""
        return self._out.read_text(errors="replace")

    def kill(self) -> None:
        self.was_killed = True
        self.process.kill()
        self.process.wait()

    def __str__(self) -> str:
        return f"{self.name} (torcctl {' '.join(self.words)}, {self.process.poll()}):\n{self.said()}"


class Harness:
    """One run. `run` raises Violation; `close` kills what is left."""

    def __init__(
        self,
        directory: Path,
        seed: int,
        say: Callable[[str], None] = lambda text: None,
        *,
        longest_s: float = 8 * LEASE_S,
    ) -> None:
        """`longest_s`: how long the longest jobs take; the others take less than half a second."""
        self.seed = seed
        self._longest_s = longest_s
        self.counts: Counter[str] = Counter()
        """Actions by name."""
        self._say = say
        self._luck = random.Random(seed)
        self._journal = directory / "journal"
        self._journal.mkdir()
        self._said = directory / "said"
        self._said.mkdir()
        self.system = System(directory)
        self._clock = WallClock(directory)
        self.system.environ |= {
            **self._clock.environ,
            "FAULTS_JOURNAL": str(self._journal),
            "TORCD_LEASE": str(LEASE_S),
        }
        acknowledged = Acknowledged()
        self._proxy = CuttingProxy(
            self.system.socket.with_name("proxy.sock"), self.system.socket, acknowledged, random.Random(seed)
        )
        self._invariants = Invariants(self.system.database, self._journal, acknowledged)
        self._workers: list[Child] = []
        self._clients: list[Child] = []
        self._stopped: list[tuple[float, list[int]]] = []
        """Processes that are stopped, and until when."""
        self._due: list[tuple[float, Callable[[], None]]] = []
        """What is to be done later, and when."""
        self._threads: list[threading.Thread] = []
        self._restart_at: float | None = None
        self._names = 0
        self.workflows: list[int] = []

    def close(self) -> None:
        """Ends everything."""
        self._proxy.stop()
        self.system.close()

    # ---- a run -------------------------------------------------------------------------------------------------

    def run(self, seconds: float) -> None:
        """Lets things happen for so long, then sees to it that everything can be brought to its end."""
        try:
            self.system.start_daemon()
            self._create_workflows()
            end_at = time.monotonic() + seconds
            while time.monotonic() < end_at:
                self._hire()
                name, action = self._luck.choices(self._actions(), weights=WEIGHTS)[0]
                luck = (self._luck.random(), self._luck.random(), self._luck.random())
                self.counts[name] += 1
                self._say(f"{name} {luck[0]:.3f} {luck[1]:.3f} {luck[2]:.3f}")
                action(luck)
                self._pass(self._luck.expovariate(1 / PAUSE_S))
                self._check()
            self._finish()
        except Violation as violation:
            raise Violation(f"seed {self.seed}: {violation}\n\n{self._tell()}") from violation

    def _actions(self) -> list[tuple[str, Callable[[Luck], None]]]:
        return [(name, getattr(self, f"_{name}")) for name in NAMES]

    def _create_workflows(self) -> None:
        for number in range(2):
            self.workflows.append(self.system.create(self._specification(number)))
        for workflow_id in self.workflows:
            self._carry_out(Initialize(workflow_id=workflow_id))

    def _specification(self, number: int) -> dict[str, Any]:
        """A diamond over a few sources, and jobs that take longer than a lease."""
        width = self._luck.randint(2, 4)
        for place in range(width):
            self.system.write(f"in{number}/{place}", "0")
        (self.system.work / f"out{number}").mkdir()

        def job(
            name: str, inputs: list[str], outputs: list[str], longest_s: float, shortest_s: float = 0
        ) -> dict[str, Any]:
            paths = " ".join(f"${{files.output.{each}}}" for each in outputs)
            words = ["--deaf"] if self._luck.random() < 0.2 else []
            words.append(f"{self._luck.uniform(shortest_s, longest_s):.2f}")
            return {"name": name, "command": " ".join(["bash", str(JOB), *words, paths]), "input_files": inputs}

        jobs = [job(f"make{n}", [f"in{n}"], [f"a{n}"], 0.4) for n in range(width)]
        jobs += [job(f"refine{n}", [f"a{n}"], [f"b{n}"], 0.4) for n in range(width)]
        jobs += [job("join", [f"b{n}" for n in range(width)], ["c"], 0.3)]
        jobs += [job(f"long{n}", [f"in{n}"], [f"d{n}"], self._longest_s, self._longest_s / 3) for n in range(2)]
        names = [f"{kind}{n}" for kind in "ab" for n in range(width)] + ["c", "d0", "d1"]
        files = [{"name": f"in{n}", "path": f"in{number}/{n}"} for n in range(width)]
        files += [{"name": name, "path": f"out{number}/{name}"} for name in names]
        flaky = jobs[width]
        flaky["command"] += "; test $((TORC_ATTEMPT_ID % 3)) != 1"
        flaky["failure_handler"] = "again"
        return {"name": f"flow{number}", "files": files, "jobs": jobs, **RETRIES_AND_ACTIONS}

    def _hire(self) -> None:
        self._workers = [worker for worker in self._workers if self._is_at_work(worker)]
        while len(self._workers) < MOST_WORKERS:
            workflow_id = self.workflows[self._names % len(self.workflows)]
            words = ["run", str(workflow_id), "--max-parallel-jobs", "3"]
            self._workers.append(self._start("worker", words, proxied=self._names % 3 != 0))

    def _is_at_work(self, worker: Child) -> bool:
        if worker.is_alive:
            return True
        self._examine(worker)
        return False

    def _start(self, kind: str, words: list[str], *, proxied: bool) -> Child:
        self._names += 1
        environ = {"TORC_URL": self._proxy.url} if proxied else {"TORC_NO_AUTOSTART": "1"}
        return Child(self.system, f"{kind}{self._names}", words, environ, self._said)

    def _pass(self, seconds: float) -> None:
        """Lets time go by; what is due in it is done."""
        until = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            for entry in [each for each in self._stopped if each[0] <= now]:
                self._stopped.remove(entry)
                self._signal(entry[1], signal.SIGCONT)
            if self._restart_at is not None and self._restart_at <= now:
                self._restart_at = None
                self.system.start_daemon()
            for entry in [each for each in self._due if each[0] <= now]:
                self._due.remove(entry)
                entry[1]()
            if now >= until:
                return
            due = [until, *(each[0] for each in (*self._stopped, *self._due))]
            if self._restart_at is not None:
                due.append(self._restart_at)
            time.sleep(max(0.0, min(due) - now))

    def _signal(self, pids: list[int], number: signal.Signals) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    # ---- invariants --------------------------------------------------------------------------------------------

    def _check(self) -> None:
        self._invariants.check()
        now = time.monotonic()
        for client in list(self._clients):
            if not client.is_alive:
                self._clients.remove(client)
                self._examine(client)
            elif now - client.started_at - client.stopped_s > PATIENCE_S:
                raise Violation(f"a client does not come to an end: {client}")
        log = self.system.log.read_text(errors="replace")
        if "Traceback" in log:
            raise Violation("the daemon's log has a traceback")

    def _examine(self, child: Child) -> None:
        said = child.said()
        if "Traceback" in said or "bug in torcd" in said:
            raise Violation(f"a bug: {child}")
        if not child.was_killed and child.process.returncode not in CODES:
            raise Violation(f"an unexpected end: {child}")

    def _tell(self) -> str:
        """What helps to understand a violation."""
        parts = [f"log:\n{self.system.log.read_text(errors='replace')[-6000:]}"]
        journal = self._journal / "journal"
        if journal.exists():
            parts.append(f"journal:\n{journal.read_text()[-3000:]}")
        parts += [str(worker) for worker in self._workers]
        query = (
            "SELECT workflow_id, job_id, name, status, reason, attempt, worker_id FROM job_state JOIN job ON"
            " job.id = job_id ORDER BY job_id"
        )
        with contextlib.suppress(Exception):
            parts.append("\n".join(map(str, self.system.sql(query.replace("workflow_id,", "job.workflow_id,", 1)))))
            parts.append("\n".join(map(str, self.system.sql("SELECT * FROM result ORDER BY id DESC LIMIT 40"))))
        return "\n\n".join(parts)

    # ---- what befalls the daemon -------------------------------------------------------------------------------

    def _kill_daemon(self, luck: Luck) -> None:
        if self._restart_at is None:
            self.system.kill_daemon()
            self._restart_at = time.monotonic() + 2 * LEASE_S * luck[0] ** 3

    def _stop_daemon(self, luck: Luck) -> None:
        if self._restart_at is not None or self._is_stopped(self._daemon_pid()):
            return
        if self.system.stop_daemon() != 0:
            raise Violation("the daemon did not end in order")
        self._restart_at = time.monotonic() + LEASE_S * luck[0] ** 3

    def _freeze_daemon(self, luck: Luck) -> None:
        if self._restart_at is None:
            self._freeze([self._daemon_pid()], 2 * LEASE_S * luck[0])

    def _daemon_pid(self) -> int:
        assert self.system.daemon is not None
        return self.system.daemon.pid

    def _is_stopped(self, pid: int) -> bool:
        return any(pid in pids for _, pids in self._stopped)

    def _freeze(self, pids: list[int], seconds: float) -> None:
        self._signal(pids, signal.SIGSTOP)
        self._stopped.append((time.monotonic() + seconds, pids))
        for client in self._clients:
            client.stopped_s += seconds

    # ---- what befalls workers and jobs -------------------------------------------------------------------------

    def _some_worker(self, luck: Luck) -> Child | None:
        """One that runs something, if there is any."""
        alive = [worker for worker in self._workers if worker.is_alive]
        busy = [worker for worker in alive if any(self._children_of(worker.process.pid, b"job.sh"))]
        chosen = busy or alive
        return chosen[int(luck[0] * len(chosen))] if chosen else None

    def _kill_worker(self, luck: Luck) -> None:
        worker = self._some_worker(luck)
        if worker is not None:
            self._say(f"    {worker.name}, pid {worker.process.pid}")
            worker.kill()
            self._rerun_after_lease(luck)

    def _kill_worker_and_guardian(self, luck: Luck) -> None:
        """As `killall -9 python3` does: the daemon has to end what runs."""
        worker = self._some_worker(luck)
        if worker is not None:
            self._say(f"    {worker.name}, pid {worker.process.pid}")
            guardians = list(self._children_of(worker.process.pid, b"guardian.py"))
            self._signal([*guardians, worker.process.pid], signal.SIGSTOP)  # so that neither sees the other's end
            self._signal(guardians, signal.SIGKILL)
            worker.kill()
            self._rerun_after_lease(luck)

    def _terminate_worker(self, luck: Luck) -> None:
        worker = self._some_worker(luck)
        if worker is not None:
            worker.was_killed = True
            worker.process.terminate()

    def _freeze_worker(self, luck: Luck) -> None:
        worker = self._some_worker(luck)
        if worker is not None:
            self._say(f"    {worker.name}, pid {worker.process.pid}, for {4 * LEASE_S * luck[1]:.1f} s")
            self._freeze([worker.process.pid], 4 * LEASE_S * luck[1])
            self._proxy.cut(0.5, in_the_middle=False)  # else it keeps its connection, and its jobs
            self._rerun_after_lease(luck)

    def _kill_guardian(self, luck: Luck) -> None:
        worker = self._some_worker(luck)
        if worker is not None:
            self._say(f"    of {worker.name}, pid {worker.process.pid}")
            self._signal(list(self._children_of(worker.process.pid, b"guardian.py")), signal.SIGKILL)

    def _kill_job(self, luck: Luck) -> None:
        running = [pid for worker in self._workers for pid in self._children_of(worker.process.pid, b"job.sh")]
        if running:
            self._signal([running[int(luck[0] * len(running))]], signal.SIGKILL)

    def _children_of(self, parent: int, word: bytes) -> Iterator[int]:
        for name in os.listdir("/proc"):
            if name.isdigit():
                with contextlib.suppress(OSError):
                    stat = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
                    if int(stat[1]) == parent and word in Path(f"/proc/{name}/cmdline").read_bytes():
                        yield int(name)

    # ---- what befalls all --------------------------------------------------------------------------------------

    def _suspend(self, luck: Luck) -> None:
        """Everything stands still for longer than a lease, as when the machine sleeps."""
        pids = list(self.system._marked())
        seconds = LEASE_S * (1 + luck[0])
        self._signal(pids, signal.SIGSTOP)
        time.sleep(seconds)
        self._signal([pid for pid in pids if not self._is_stopped(pid)], signal.SIGCONT)
        self._stopped = [(until + seconds, stopped) for until, stopped in self._stopped]
        if self._restart_at is not None:
            self._restart_at += seconds
        for client in self._clients:
            client.stopped_s += seconds

    def _step_clock(self, luck: Luck) -> None:
        self._clock.set(round((luck[0] - 0.5) * 2 * 86400))

    def _cut(self, luck: Luck) -> None:
        self._proxy.cut(luck[0], in_the_middle=luck[1] < 0.7)

    def _disturb(self, luck: Luck) -> None:
        """For a while pieces are held up, or each may be the last of its connection; or that is over."""
        self._proxy.delay_s = 0.1 * luck[0] if luck[1] < 0.4 else 0.0
        self._proxy.cut_chance = 0.1 * luck[2] if luck[2] < 0.3 else 0.0

    # ---- what clients do ---------------------------------------------------------------------------------------

    def _operate(self, luck: Luck) -> None:
        words = OPERATIONS[int(luck[0] * len(OPERATIONS))]
        self._ask(luck, ["workflows", words[0], str(self._some_workflow(luck)), *words[1:]])

    def _rerun(self, luck: Luck) -> None:
        """What a user does who sees that something was lost."""
        workflow_id = self._some_workflow(luck)
        requests: list[Request] = [Restart(workflow_id=workflow_id, follow=False)]
        if luck[0] < 0.4:
            requests.insert(0, SyncStatus(workflow_id=workflow_id))
        thread = threading.Thread(target=self._call, args=(requests,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _rerun_after_lease(self, luck: Luck) -> None:
        """While jobs of the worker would still run, if nothing had ended them."""
        if luck[2] < 0.7:
            for place in range(len(self.workflows)):
                self._due.append(
                    (time.monotonic() + 1.4 * LEASE_S, partial(self._rerun, (luck[0], place / 2, luck[2])))
                )

    def _call(self, requests: list[Request]) -> None:
        """Without a torcctl, which takes its time to start."""
        with contextlib.suppress(TorcError), connect(self.system.url) as connection:
            for request in requests:
                connection.call(request)

    def _reset_job(self, luck: Luck) -> None:
        """A failed or lost job is made to run again; on its own, so it is often told that it lives."""
        options = ["--stop-live"] if luck[2] < 0.5 else []
        self._ask(luck, ["-k", str(self._some_workflow(luck)), "jobs", "reset-status", "join", "long0", *options])

    def _wait_for_task(self, luck: Luck) -> None:
        with contextlib.suppress(Exception):
            ((newest,),) = self.system.sql("SELECT max(id) FROM task")
            self._ask(luck, ["tasks", "wait", "--timeout", "20", str(newest)])

    def _look(self, luck: Luck) -> None:
        words = LOOKS[int(luck[0] * len(LOOKS))]
        self._ask(luck, [*words, str(self._some_workflow(luck))])

    def _edit_input(self, luck: Luck) -> None:
        number = int(luck[0] * 2)
        names = sorted((self.system.work / f"in{number}").iterdir())
        self.system.write(names[int(luck[1] * len(names))], "x" * self._luck.randint(1, 50))
        if luck[2] < 0.5:
            self._ask(luck, ["workflows", "reinit", str(self.workflows[number])])

    def _some_workflow(self, luck: Luck) -> int:
        return self.workflows[int(luck[1] * len(self.workflows))]

    def _ask(self, luck: Luck, words: list[str]) -> None:
        if len(self._clients) < MOST_CLIENTS:
            self._clients.append(self._start("client", words, proxied=luck[2] < 0.6))

    # ---- the end -----------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Nothing befalls anybody any more: clients come to an end, and every workflow can be completed."""
        self._proxy.delay_s = self._proxy.cut_chance = 0.0
        self._stopped = [(0.0, pids) for _, pids in self._stopped]
        self._due.clear()
        if self._restart_at is not None:
            self._restart_at = 0.0
        self._pass(0)
        while self._clients:
            self._check()
            time.sleep(0.02)
        for thread in self._threads:
            thread.join(PATIENCE_S)
            if thread.is_alive():
                raise Violation("a call of a client does not come to an end")
        for worker in self._workers:
            if worker.is_alive:
                worker.was_killed = True
                worker.process.terminate()
        deadline = time.monotonic() + PATIENCE_S
        for worker in self._workers:
            try:
                worker.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise Violation(f"a worker does not come to an end: {worker}") from None
            self._examine(worker)
        for workflow_id in self.workflows:
            self._complete(workflow_id)
        self._check()
        self.counts["(connections cut)"] += self._proxy.num_cuts
        self.counts["(attempts begun)"] += (self._journal / "journal").read_text().count("begin")
        for name, reason in (("lost", StatusReason.WORKER_LOST), ("superseded", StatusReason.SUPERSEDED)):
            ((count,),) = self.system.sql("SELECT count(*) FROM result WHERE reason = ?", reason)
            self.counts[f"(attempts {name})"] += count

    def _complete(self, workflow_id: int) -> None:
        for _ in range(4):
            self._carry_out(ResetStatus(workflow_id=workflow_id, failed_only=True, stop_live=True))
            self._carry_out(Restart(workflow_id=workflow_id, stop_live=True))
            run = self._start("last", ["run", str(workflow_id), "--max-parallel-jobs", "6"], proxied=False)
            try:
                run.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                raise Violation(
                    f"workflow {workflow_id} does not come to an end: {self._explain(workflow_id)}"
                ) from None
            self._check()
            counts = self.system.call(GetStatus(workflow_id=workflow_id))["counts"]
            if set(counts) == {"completed"}:
                if run.process.returncode != 0:
                    raise Violation(f"workflow {workflow_id} is completed: {run}")
                return
        raise Violation(f"workflow {workflow_id} cannot be completed: {counts}; {run}")

    def _carry_out(self, request: Operation) -> None:
        with connect(self.system.url) as connection:
            task_id = ask(connection, request)["task_id"]
            task = ask(connection, WaitTask(task_id=task_id))
        if task["status"] != "succeeded":
            raise Violation(f"an operation that nothing hinders does not succeed: {task}")

    def _explain(self, workflow_id: int) -> str:
        told = [self.system.torcctl("workflows", "sync-status", workflow_id, "--dry-run", json=True)]
        for job in self.system.jobs(workflow_id).values():
            if job["status"] not in ("completed", "blocked"):
                told.append(self.system.torcctl("jobs", "explain", job["id"]).out)
        return "\n".join(map(str, told))


ACTIONS = {
    "kill_daemon": 4, "stop_daemon": 2, "freeze_daemon": 3,
    "kill_worker": 5, "terminate_worker": 1, "freeze_worker": 4, "kill_guardian": 1, "kill_job": 2,
    "kill_worker_and_guardian": 2,
    "suspend": 1, "step_clock": 1, "cut": 4, "disturb": 3,
    "operate": 10, "rerun": 12, "reset_job": 4, "wait_for_task": 3, "look": 3, "edit_input": 6,
}  # fmt: skip
"""How often each is taken."""

NAMES = tuple(ACTIONS)
WEIGHTS = tuple(ACTIONS.values())

OPERATIONS = (
    ("reinit",), ("reinit", "--stop-live"), ("reinit", "--dry-run"), ("undo",), ("cancel",),
    ("restart",), ("restart", "--stop-live"), ("restart", "--only-uninitialized"), ("restart", "--async"),
    ("sync-status",), ("sync-status", "--dry-run"), ("reset-status", "--reinitialize"),
    ("reset-status", "--failed-only", "--reinitialize"), ("reset-status", "--stop-live", "--reinitialize"),
)  # fmt: skip

LOOKS = (
    ("workflows", "status"),
    ("results", "list", "--all-runs"),
    ("jobs", "list"),
    ("events", "list"),
    ("workers", "list"),
)
