"""Any history of operations, completions, crashes and edits is what the rules make of it.

Hypothesis makes up a workflow and a history; `side_by_side` does each step to a real actor and to the reference model
and compares what they answer; after every step everything that can be seen of them must be the same.

TORC_TEST_HISTORIES=N has N histories tried, with TORC_FUZZ=1 new ones each time. A history that fails is shrunk;
hypothesis keeps it and tells how to reproduce it.
"""

import ast
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pair import FOR_EVER_S, GIVEN, SCRIPT, Letter, Report, Worker
from reference_model import LIVE, Attempt, Blueprint, Need
from reference_operations import Request, files_to_look_at, has_nothing_to_do
from side_by_side import NO_DIGEST, SideBySide

from torcd.actors import answers as answers_module
from torcd.actors import lease
from torcd.actors import supervisor as supervisor_module

HISTORIES = int(os.environ.get("TORC_TEST_HISTORIES", "25"))
STEPS = 40
MOST_WORKERS = 3
USER_FILES = ("x", "y", "z")
MEMORY = Path("/dev/shm")
"""Where a database need not wait for a disk, on Linux."""


NEEDS: list[Need | None] = [None, None, ("short", 6000.0), ("long", 360000.0)]
TIMES = st.sampled_from([None, None, None, 7500.0, 400000.0])
"""How much time a worker has left: for short jobs, for all, not for what a recovery makes of them; hours to spare."""


# ---- workflows ----


@st.composite
def workflows(draw: st.DrawFn) -> list[Blueprint]:
    """Three to twelve jobs, each after those it depends on; diamonds are likely."""
    made: list[Blueprint] = []
    for number in range(draw(st.integers(3, 12))):
        fewest = min(number, draw(st.sampled_from([0, 1, 2, 2])))
        parents = draw(st.lists(st.sampled_from(made), min_size=fewest, max_size=3, unique=True)) if made else []
        edges = [(parent, draw(st.sampled_from(ways_to_depend_on(parent)))) for parent in parents]
        files = [draw(st.sampled_from(parent.outputs)) for parent, way in edges if way == "file"]
        made.append(
            Blueprint(
                name=f"j{number}",
                inputs=(*files, *sorted(draw(st.sets(st.sampled_from(USER_FILES), max_size=2)))),
                outputs=tuple(f"f{number}{part}" for part in "abc"[: draw(st.sampled_from([1, 1, 1, 2, 3, 0]))]),
                scripts=draw(st.sampled_from([(), (), (), (SCRIPT,)])),
                reads=(
                    *(parent.writes[0] for parent, way in edges if way == "value"),
                    *draw(st.sampled_from([(), (), *((name,) for name in GIVEN)])),
                ),
                writes=draw(st.sampled_from([(), (f"v{number}",)])),
                after=tuple(parent.name for parent, way in edges if way == "after"),
                cancels=draw(st.sampled_from([True, True, False])),
                priority=draw(st.sampled_from([0, 0, 5])),
                need=draw(st.sampled_from(NEEDS)),
            )
        )
    return made


def ways_to_depend_on(parent: Blueprint) -> list[str]:
    """Explicitly, or through what the parent makes."""
    return [*(["file"] * 2 * bool(parent.outputs)), *(["value"] * bool(parent.writes)), "after"]


def requests(names: list[str], operation: str) -> st.SearchStrategy[Request]:
    """All ways to ask for an operation."""
    given: dict[str, Any] = {"operation": st.just(operation), "force": st.booleans(), "stop_live": st.booleans()}
    if operation == "restart":
        given["only_uninitialized"] = st.booleans()
    if operation in {"reset-status", "jobs reset-status"}:
        given["reinitialize"] = st.booleans()
    if operation == "reset-status":
        given["failed_only"] = st.booleans()
    if operation == "jobs reset-status":
        given |= {
            "jobs": st.sets(st.sampled_from(names), max_size=3).map(sorted).map(tuple),
            "stranger": st.sampled_from([False, False, False, True]),
            "status": st.sampled_from([None, None, "failed", "done", "submitted", "submitted_pending", "ready"]),
            "return_code": st.sampled_from([None, None, 0, 1, -15]),
        }
    if operation == "recover":
        given |= {"retry_unknown": st.booleans(), "max_runtime_s": st.sampled_from([None, None, 10000])}
    return st.builds(Request, **given)


OPERATIONS = [
    "reinit",
    "restart",
    "reinit",
    "restart",
    "prepare",
    "reset-status",
    "jobs reset-status",
    "initialize",
    "recover",
]
FATES = ["well", "well", "well", "badly", "without its output", "without its data", "stopped"]
"""How a process ends."""
EDITS: list[dict[str, Any]] = [
    {"command": "other"},
    {"command": None},  # back to what it was
    {"env": {"A": "1"}},
    {"env": {}},
    {"command": "other", "env": {"A": "2"}},
    {"priority": 7},
    {"cancels": True},
    {"cancels": False},
]
PATIENT = st.sampled_from([True, True, True, False])
"""Whether workers come back at once after a crash."""
VALUES = [0, 1, 1.0, [1]]
"""Of user data; two of them are the same."""


class Histories(RuleBasedStateMachine):
    """One workflow and what happens to it. Each rule is about as likely as another, so what is rare shares one."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(lease, "LEASE_S", FOR_EVER_S)  # a lease ends when the history says so
        self.patch.setattr(answers_module, "LONGEST_WAIT_S", FOR_EVER_S)
        self.patch.setattr(supervisor_module, "CRASH_WINDOW_S", 0.0)  # any number of crashes is forgiven
        self.directory = tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)
        self.pair: SideBySide
        self.is_sound = False
        """Whether the last step ended well."""

    @initialize(
        blueprints=workflows(),
        absent=st.sampled_from(["", "", "", "", *USER_FILES, SCRIPT]),
        values=st.sampled_from([{"given": 0, "other": 0}, {"given": 0, "other": 0}, {"given": 0}, {}]),
        prepares=st.sampled_from([True, True, True, False]),
    )
    def create(self, blueprints: list[Blueprint], absent: str, values: dict[str, object], prepares: bool) -> None:
        self.pair = SideBySide(Path(self.directory.name) / "torc.db", blueprints, values)
        self.model = self.pair.model
        self.pair.disk.write(*sorted({*USER_FILES, SCRIPT} - {absent}))
        self.do(self.pair.hire)
        if prepares:
            self.do(self.pair.operate, Request("prepare", force=True))

    def do(self, step: Any, *arguments: Any) -> Any:
        """Has something done side by side."""
        self.is_sound = False
        return self.pair.do(step, *arguments)

    # ---- what is there ----

    @property
    def workers(self) -> list[Worker]:
        return list(self.pair.workers.values())

    @property
    def present(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.is_present]

    @property
    def away(self) -> list[Worker]:
        return [worker for worker in self.workers if not worker.is_present]

    def holding(self, *phases: str) -> list[Worker]:
        """The present workers that know of an attempt in one of these phases."""
        return [worker for worker in self.present if self.pair.known(worker, *phases)]

    def own(self, worker: Worker) -> list[Letter]:
        """The letters that a worker has written."""
        return [letter for letter in self.pair.letters if letter.worker == worker.hand.worker_id]

    # ---- choices ----

    def pick(self, data: st.DataObject, things: Any) -> Any:
        return data.draw(st.sampled_from(list(things)))

    def some(self, data: st.DataObject, things: Any, least: int = 0, most: int = 4) -> list[Any]:
        things = list(things)
        if not things:
            return []
        places = data.draw(st.sets(st.integers(0, len(things) - 1), min_size=least, max_size=most))
        return [things[place] for place in sorted(places)]

    def request(self, data: st.DataObject, kinds: list[str] = OPERATIONS) -> Request:
        return data.draw(requests(self.model.order, self.pick(data, kinds)))

    def room(self, data: st.DataObject) -> int | None:
        return data.draw(st.sampled_from([2, 1, 5, 0, None]))

    # ---- operations ----

    @precondition(lambda self: self.pair.held is None)
    @rule(data=st.data())
    def operate(self, data: st.DataObject) -> None:
        self.do(self.pair.operate, self.request(data))

    @rule(data=st.data(), is_real=st.booleans(), expects=st.sampled_from(["it", "nothing", "another"]))
    def look_and_operate(self, data: st.DataObject, is_real: bool, expects: str) -> None:
        """SEMANTICS 5.4: first a dry run, then perhaps the real one, with the digest or without"""
        request = self.request(data)
        digest = self.do(self.pair.preview, request)
        if is_real:
            expect = {"it": digest, "nothing": None, "another": NO_DIGEST}[expects]
            self.do(self.pair.operate, request, expect)

    @precondition(lambda self: self.model.with_status(*LIVE) and self.pair.held is None)
    @rule(data=st.data())
    def operate_on_live_jobs(self, data: st.DataObject) -> None:
        """SEMANTICS 5.2"""
        self.do(self.pair.operate, self.request(data, ["reset-status", "jobs reset-status", "initialize"]))

    @precondition(lambda self: self.pair.held is None)
    @rule(data=st.data())
    def begin_an_operation(self, data: st.DataObject) -> None:
        """SEMANTICS 6.5: everything else goes on while it scans"""
        request = self.request(data, ["reinit", "restart", "initialize", "prepare"])
        if not has_nothing_to_do(self.model, request) and files_to_look_at(self.model, request):
            self.do(self.pair.hold, request)

    @precondition(lambda self: self.pair.held is not None)
    @rule(
        data=st.data(),
        how=st.sampled_from(["commit", "commit", "commit", "fail", "crash", "cancel", "ask", "ask again"]),
    )
    def go_on_with_the_operation(self, data: st.DataObject, how: str) -> None:
        """SEMANTICS 6.2, 6.3, 6.5, 6.7"""
        assert self.pair.held is not None
        if how == "cancel":
            self.do(self.pair.cancel_task)
        elif how == "ask again":
            self.do(self.pair.operate, self.pair.held.request)
        elif how == "ask":
            self.do(self.pair.operate, self.request(data))
        else:
            self.do(self.pair.let_go, how)

    # ---- workers that do what they should ----

    @precondition(lambda self: self.present and self.model.claimable())
    @rule(data=st.data(), room=st.integers(1, 4))
    def claim(self, data: st.DataObject, room: int) -> None:
        self.do(self.pair.report, self.pick(data, self.present), Report(room=room, time_left_s=data.draw(TIMES)))

    @precondition(lambda self: self.present)
    @rule(data=st.data())
    def listen(self, data: st.DataObject) -> None:
        """SEMANTICS 8.1: claims wait on the daemon"""
        self.do(self.pair.listen, self.pick(data, self.present), self.room(data), data.draw(TIMES))

    @precondition(lambda self: self.holding("pending"))
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        worker = self.pick(data, self.holding("pending"))
        started = self.some(data, self.pair.known(worker, "pending"), least=1)
        self.do(self.pair.report, worker, Report(started=[each.ref for each in started]))

    @precondition(lambda self: self.holding(*LIVE))
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        worker = self.pick(data, self.holding(*LIVE))
        ended = self.some(data, self.pair.known(worker, *LIVE), least=1)
        letters = [self.letter(data, each) for each in ended]
        self.do(self.pair.report, worker, Report(ended=letters, room=self.room(data)))

    def letter(self, data: st.DataObject, attempt: Attempt) -> Letter:
        """A process ends."""
        fate = data.draw(st.sampled_from(FATES))
        if fate != "without its data" and attempt.phase in LIVE:
            self.do(self.pair.write_values, attempt)
        code = self.pick(data, [1, -15]) if fate in {"badly", "stopped"} else 0
        stopped = self.pick(data, ["walltime", "walltime", "worker_shutdown", "by_user"]) if fate == "stopped" else None
        outputs = {}
        if fate in {"badly", "without its output"}:
            declared = self.model.jobs[attempt.ref[0]].blueprint.outputs
            outputs = {file: self.pick(data, ["delete", "leave", "write"]) for file in declared}
        need = self.model.jobs[attempt.ref[0]].need
        takes_s = self.pick(data, [need[1], need[1], 0.5]) if stopped == "walltime" and need is not None else 0.5
        return self.pair.write_letter(attempt, code, stopped, outputs, takes_s)

    @precondition(lambda self: self.present and self.model.claimable())
    @rule(data=st.data())
    def work(self, data: st.DataObject) -> None:
        """A worker runs all that there is."""
        fails = self.some(data, self.model.order, most=2)
        self.do(self.pair.work, self.pick(data, self.present), fails)

    # ---- workers that come and go ----

    @rule(data=st.data(), how=st.sampled_from(["hang up", "stay away", "leave"]))
    def go_away(self, data: st.DataObject, how: str) -> None:
        """SEMANTICS 8.4"""
        waited_for = [each for each in self.away if not each.is_gone]
        if self.present and not (waited_for and how == "stay away"):
            worker = self.pick(data, self.holding("running") or self.present)
            self.do(self.pair.leave if how == "leave" else self.pair.hang_up, worker)
            waited_for = [worker] if how == "stay away" else []
        if how == "stay away" and waited_for:
            self.do(self.pair.end_lease, self.pick(data, waited_for))

    @rule(data=st.data(), holds=st.sampled_from(["all", "all", "some", "nothing"]))
    def come(self, data: st.DataObject, holds: str) -> None:
        """SEMANTICS 8.4: a new worker, or one with all that it holds, or with some of what it ever had"""
        if holds == "nothing" and len(self.workers) < MOST_WORKERS:
            self.do(self.pair.hire)
            return
        worker = self.pick(data, [*self.away, *self.present])
        if holds == "some":
            presented = [each.ref for each in self.some(data, self.pair.known(worker))]
            self.do(self.pair.come_back, worker, [*presented, ("?", 1)])
        else:
            self.come_back(worker)

    def come_back(self, *workers: Worker) -> None:
        """Workers register again with all that they hold."""
        for worker in workers:
            held = self.pair.known(worker, "pending", "running", "lost", "canceled")
            self.do(self.pair.come_back, worker, [each.ref for each in held])

    # ---- workers that say something odd, late or twice ----

    def words(self, data: st.DataObject, worker: Worker) -> Report:
        """Anything that a worker could say, much of it late, repeated, or none of its business."""
        mine = [each.ref for each in self.pair.known(worker)]
        letters = self.own(worker) if data.draw(st.sampled_from([True, True, False])) else self.pair.letters
        ended = self.some(data, reversed(letters))
        twice = ended[:1] if data.draw(st.booleans()) else []
        strange = self.pick(data, [[], [], [("?", 1), (self.model.order[0], 99)]])
        return Report(
            started=self.some(data, mine) + strange,
            ended=[*ended, *twice],
            returned=self.some(data, mine),
            room=self.room(data),
            time_left_s=data.draw(TIMES),
        )

    @rule(data=st.data(), how=st.sampled_from(["now", "now", "unheard"]), patient=PATIENT)
    def say_anything(self, data: st.DataObject, how: str, patient: bool) -> None:
        """SEMANTICS 5.3, 8.4: a worker that is away is told to register; an answer is lost, as the actor dies"""
        worker = self.pick(data, self.holding() or self.workers)
        report = self.words(data, worker)
        if not worker.is_present:
            self.do(self.pair.report_from_nowhere, worker, report)
        elif how == "unheard" and self.pair.held is None:
            present = self.present
            self.do(self.pair.lose_answer, worker, report)
            self.come_back(*present if patient else ())
        else:
            self.do(self.pair.report, worker, report)

    @precondition(lambda self: any(self.pair.known(each) for each in self.workers))
    @rule(data=st.data(), tells=st.booleans(), again=st.booleans())
    def end_late(self, data: st.DataObject, tells: bool, again: bool) -> None:
        """SEMANTICS 5.3, 8.4: any attempt ends, perhaps a second time; letters are sent, perhaps again"""
        worker = self.pick(data, [each for each in self.workers if self.pair.known(each)])
        known = self.pair.known(worker)
        unclear = [] if again else [each for each in known if each.phase in {"lost", "canceled", "running"}]
        attempt = self.model.attempt(self.pick(data, [each.ref for each in reversed(unclear or known)]))
        assert attempt is not None
        self.letter(data, attempt)
        if tells and worker.is_present:
            self.do(self.pair.report, worker, Report(ended=self.own(worker)[-3:]))

    @precondition(lambda self: self.present and not any(each.waiting for each in self.workers))
    @rule(data=st.data(), failing=st.integers(0, 2))
    def talk_at_once(self, data: st.DataObject, failing: int) -> None:
        """Reports that share a transaction; when that fails each is tried in its own."""
        is_sure = bool(self.model.claimable())  # that there is something to commit
        workers = [self.pick(data, self.present), self.pick(data, self.present)]
        pairs = [(worker, replace(self.words(data, worker), room=1, time_left_s=None)) for worker in workers]
        self.do(self.pair.report_together, pairs, failing if is_sure else 0)

    # ---- what is rare ----

    @rule(when=st.sampled_from(["not now", "when it runs", "when it runs", "anyway"]))
    def cancel(self, when: str) -> None:
        """SEMANTICS §2"""
        if when == "anyway" or (when == "when it runs" and self.model.with_status("running")):
            self.do(self.pair.cancel)

    @rule(
        what=st.sampled_from(["commit", "actor", "scan", "daemon"]),
        which=st.sampled_from(["cancel", "hire", "operate"]),
        patient=PATIENT,
    )
    def disturb(self, what: str, which: str, patient: bool) -> None:
        """SEMANTICS 6.6, 8.4: a commit fails, the actor crashes, the daemon is restarted"""
        present = self.present
        if what == "commit" and self.pair.held is None:
            self.do(self.pair.fail_commit, which)
        elif what == "actor":
            self.do(self.pair.crash)
        elif what == "scan" and self.pair.held is None and self.model.records:
            self.do(self.pair.crash_scan)
        elif what == "daemon":
            self.is_sound = False
            self.pair.restart_daemon()
        self.come_back(*[each for each in present if not each.is_present] if patient else ())

    # ---- edits ----

    @rule(
        data=st.data(),
        how=st.sampled_from(["write", "delete", "restore", "hide", "show", "edit", "edit", "set", "set as a job"]),
    )
    def change(self, data: st.DataObject, how: str) -> None:
        """SEMANTICS 4.1 to 4.4, 4.8, 5.3"""
        if how == "edit":
            name, fields = self.pick(data, self.model.order), dict(self.pick(data, EDITS))
            if "command" in fields:
                fields["command"] = fields["command"] or f"run {name}"
            self.do(self.pair.edit, name, fields)
        elif how == "set":
            self.do(self.pair.write_value, self.pick(data, [*GIVEN, *self.model.writer]), self.pick(data, VALUES))
        elif how == "set as a job":
            refs = [attempt.ref for each in self.workers for attempt in self.pair.known(each)]
            names = [*GIVEN, *self.model.writer]  # nothing keeps a job from writing what it has not declared
            if refs:
                writer = self.pick(data, reversed(refs))
                self.do(self.pair.write_as_job, self.pick(data, names), self.pick(data, VALUES), writer)
        else:
            self.change_file(data, how)

    def change_file(self, data: st.DataObject, how: str) -> None:
        file = self.pick(data, sorted({*USER_FILES, *self.model.records}))
        known = [seen for _, seen in self.model.records.get(file, ()) if isinstance(seen, tuple)]
        if how == "write":
            self.pair.disk.write(file, size=data.draw(st.integers(9, 11)))
        elif how == "delete":
            self.pair.delete(file)
        elif how == "restore" and known:  # as an older record has it
            self.pair.disk.restore(file, *self.pick(data, known))
        elif how == "hide":
            self.pair.set_readable(file, readable=False)
        elif self.pair.unreadable:
            self.pair.set_readable(self.pick(data, sorted(self.pair.unreadable)), readable=True)

    # ---- after each step, and at the end ----

    @invariant()
    def agrees(self) -> None:
        if hasattr(self, "pair"):
            self.do(self.pair.agree)
            self.is_sound = True

    def teardown(self) -> None:
        try:
            if self.is_sound:
                self.pair.do(self.pair.settle)
        finally:
            if hasattr(self, "pair"):
                self.pair.close()
            self.directory.cleanup()
            self.patch.undo()


Histories.TestCase.settings = settings(
    max_examples=HISTORIES,
    stateful_step_count=STEPS,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],  # explaining takes minutes
    print_blob=True,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
TestHistories = Histories.TestCase


def test_the_model_knows_nothing_of_the_product() -> None:
    """It would repeat its mistakes."""
    for name in ("reference_model.py", "reference_operations.py"):
        imports = [node for node in ast.walk(ast.parse(Path(__file__).with_name(name).read_text())) if is_import(node)]
        assert imports
        assert "torcd" not in " ".join(map(ast.unparse, imports))


def is_import(node: ast.AST) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)
