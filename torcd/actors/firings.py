"""Carries out what actions ask for, once and only once, across crashes.

A firing is noted `queued` by the transaction of the change that it follows from, and `running` by one of its own before
anything is done. So one that is found queued was not begun, and is. Commands that are found running may have been run,
all or in part, and are not repeated: that is `interrupted`. Nodes are asked for again under the same key, by which
nothing is submitted twice, also when Slurm has not answered. Part of the workflow's actor.
"""

import logging
import os
from collections import deque
from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import trio

from torcd.actors.clock import now_ms
from torcd.actors.messages import FiringBegins, FiringEnded, Outcome
from torcd.actors.turn import Turn
from torcd.core.paths import find_output_dir
from torcd.core.state import Action
from torcd.operations.fire import find_action, fire_due, move_firing
from torcd.protocol.actions import Firing
from torcd.protocol.errors import Conflict, TorcError, Unavailable
from torcd.protocol.specification import Header
from torcd.shell import Order, run_commands
from torcd.storage.actions import INTERRUPTED, load_open_firings

if TYPE_CHECKING:
    from torcd.actors.workflow import Finish, WorkflowActor

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 8
"""Firings of one workflow under way together; more wait their turn."""

PAUSE_S = 30.0
"""Before nodes are asked for again when Slurm does not answer: how often it is asked itself, the allocator knows."""

REQUESTED_BY = "action {number} ({trigger})"


class Firings:
    """The firings of one workflow that have not ended."""

    def __init__(self, actor: "WorkflowActor") -> None:
        self._actor = actor
        self._queue: deque[Firing] = deque()
        self._running: dict[int, Firing] = {}
        """By action: two firings of one never run together."""
        self._begun: set[int] = set()
        """The actions whose running firing was noted as such."""
        self._holding: set[Firing] = set()
        """Those for whose end jobs wait."""
        self._groups: dict[int, int] = {}
        """By action: the process group of the commands that run."""

    @property
    def is_busy(self) -> bool:
        """Whether any has not ended."""
        return bool(self._queue or self._running)

    async def load(self) -> None:
        """Ends what a former life was at, and begins what none has begun."""
        actor = self._actor
        found = await actor.database.read(lambda db: load_open_firings(db, actor.workflow_id))
        if not found:
            return
        turn = Turn(actor.state, now_ms())
        again: list[Firing] = []
        for firing, status in found:
            if status == "queued" or self._is_repeatable(turn, firing):
                again.append(firing)
            else:
                move_firing(turn.draft, firing, "interrupted", ended_at_ms=turn.now_ms, error=INTERRUPTED)
                logger.warning("workflow %d: action %d was interrupted", actor.workflow_id, firing.action_id)
        await turn.commit(actor.database)
        actor.conclude(turn)
        self._holding.update(firing for firing in again if self._holds(turn, firing))
        self._queue.extend(again)
        self._start_next()

    def check_idle(self, what: str) -> None:
        """Raises Conflict while actions are being carried out: what comes of them would be lost."""
        if self.is_busy:
            count = len(self._queue) + len(self._running)
            they = "1 action has" if count == 1 else f"{count} actions have"
            how = self._tell_how_to_end(self._groups)
            raise Conflict(
                f"{what} is refused: {they} not ended in workflow {self._actor.workflow_id}. Wait for that, or end "
                f"their processes{how}; `torcctl actions firings` lists them, with their logs",
                workflow_id=self._actor.workflow_id,
                count=count,
            )

    def explain_hold(self) -> str | None:
        """What every job waits for, if anything, and how that can be ended when it does not end by itself."""
        if not self._holding:
            return None
        actions = {firing.action_id for firing in self._holding}
        return f"for the end of the commands of on_workflow_start{self._tell_how_to_end(actions)}"

    def _tell_how_to_end(self, actions: Collection[int]) -> str:
        groups = " ".join(f"-{self._groups[each]}" for each in sorted(self._groups.keys() & actions))
        return f" (`kill -- {groups}` on the daemon's host)" if groups else ""

    @property
    def holds_jobs(self) -> bool:
        """Whether no job is to be handed out: commands at the workflow's start may make what jobs need."""
        return bool(self._holding)

    def decide(self, turn: Turn) -> None:
        """Fires what is due now; what that asks for is begun after the commit."""
        fired = fire_due(turn.draft)
        if not fired:
            return
        holding = [firing for firing in fired if self._holds(turn, firing)]
        turn.holds_jobs |= bool(holding)

        def enqueue() -> None:
            self._holding.update(holding)
            self._queue.extend(fired)
            self._start_next()

        turn.after(enqueue)

    def _is_repeatable(self, turn: Turn, firing: Firing) -> bool:
        """Whether to ask again is to ask once: nodes are asked for under a key."""
        action = find_action(turn.draft, firing.action_id)
        return action is not None and action.spec.action_type == "schedule_nodes"

    def _holds(self, turn: Turn, firing: Firing) -> bool:
        action = find_action(turn.draft, firing.action_id)
        if action is None:
            return False
        return (action.spec.trigger_type, action.spec.action_type) == ("on_workflow_start", "run_commands")

    def _start_next(self) -> None:
        waiting: deque[Firing] = deque()
        while self._queue and len(self._running) < MOST_AT_ONCE:
            firing = self._queue.popleft()
            if firing.action_id in self._running:
                waiting.append(firing)
                continue
            self._running[firing.action_id] = firing
            self._actor.nursery.start_soon(self._actor.mailbox.post, FiringBegins(firing))
        self._queue.extendleft(reversed(waiting))

    def on_begins(self, turn: Turn, firing: Firing) -> "Finish":
        """Notes that a firing is under way; only then anything is done."""
        action, mine = find_action(turn.draft, firing.action_id), self._running.get(firing.action_id)
        if action is None or mine != firing or firing.action_id in self._begun or turn.is_ending(mine):
            return lambda: None  # a message of another life, whose firings were taken over
        turn.end(mine)
        stdout_path, stderr_path = self._logs(action, firing)
        logs = {"stdout_path": stdout_path, "stderr_path": stderr_path} if action.spec.commands else {}
        move_firing(turn.draft, firing, "running", started_at_ms=turn.now_ms, **logs)

        def begin() -> None:
            self._begun.add(action.id)
            self._actor.nursery.start_soon(self._carry_out, action, firing)

        turn.after(begin)
        return lambda: None

    def on_ended(self, turn: Turn, ended: FiringEnded) -> "Finish":
        """Notes what came of a firing."""
        firing, outcome = ended.firing, ended.outcome
        if self._running.get(firing.action_id) != firing or firing.action_id not in self._begun:
            return lambda: None  # of another life: it is noted as interrupted
        move_firing(turn.draft, firing, outcome.status, ended_at_ms=turn.now_ms, **outcome.columns())
        self._holding.discard(firing)  # the jobs may go with this turn; if it fails they wait no longer for that

        def let_go() -> None:
            del self._running[firing.action_id]
            self._begun.discard(firing.action_id)
            self._start_next()

        turn.after(let_go)
        return lambda: None

    # ---- what is done ----

    async def _carry_out(self, action: Action, firing: Firing) -> None:
        try:
            if action.spec.action_type == "run_commands":
                outcome = await self._run_commands(action, firing)
            else:
                outcome = await self._schedule(action, firing)
        except TorcError as error:
            outcome = Outcome("failed", error=error.message)
        except OSError as error:
            outcome = Outcome("failed", error=f"the commands could not be run: {error}")
        await self._actor.mailbox.post(FiringEnded(firing, outcome))

    async def _run_commands(self, action: Action, firing: Firing) -> Outcome:
        actor = self._actor
        text = await actor.database.read(
            lambda db: db.execute("SELECT header FROM workflow WHERE id = ?", (actor.workflow_id,)).fetchone()[0]
        )
        stdout_path, stderr_path = self._logs(action, firing)
        order = Order(
            commands=action.spec.commands,
            directory=actor.state.submission_directory,
            output_dir=self._output_dir,
            stdout_path=stdout_path,
            stderr_path=stderr_path,
            environment={
                **msgspec.json.decode(text, type=Header).env,
                "TORC_WORKFLOW_ID": str(actor.workflow_id),
                "TORC_RUN_ID": str(firing.run_id),
                "TORC_ACTION": str(action.number),
                "TORC_OUTPUT_DIR": self._output_dir,
                "TORC_URL": actor.means.url,
                "TORC_NO_AUTOSTART": "1",
            },
            umask=actor.means.umask,
        )
        try:
            code = await run_commands(order, lambda group: self._groups.update({action.id: group}))
        finally:
            self._groups.pop(action.id, None)
        if code == 0:
            return Outcome("succeeded", return_code=0)
        return Outcome("failed", return_code=code, error=f"a command failed with return code {code}: see {stderr_path}")

    async def _schedule(self, action: Action, firing: Firing) -> Outcome:
        schedule = self._actor.means.schedule
        if schedule is None:
            return Outcome("failed", error="this torcd submits nothing to Slurm: use `torcctl run` to run the jobs")
        ask = partial(
            schedule,
            self._actor.workflow_id,
            count=action.spec.num_allocations,
            scheduler=action.spec.scheduler,
            max_parallel_jobs=action.spec.max_parallel_jobs,
            requested_by=REQUESTED_BY.format(number=action.number, trigger=action.spec.trigger_type),
            request_key=f"action-{action.id}-{firing.number}",
        )
        is_told = False
        while True:
            try:
                allocations, warnings = await ask()
                break
            except Unavailable as error:
                if self._actor.state.is_canceled:
                    raise
                if not is_told:
                    told = self._actor.workflow_id, action.number, error.message
                    logger.warning("workflow %d: action %d waits until Slurm answers: %s", *told)
            is_told = True
            await trio.sleep(PAUSE_S)
        for warning in warnings:
            logger.warning("workflow %d: action %d: %s", self._actor.workflow_id, action.number, warning)
        return Outcome("succeeded", allocations=allocations)

    @property
    def _output_dir(self) -> str:
        return find_output_dir(self._actor.state.submission_directory, self._actor.workflow_id)

    def _logs(self, action: Action, firing: Firing) -> tuple[str, str]:
        base = os.path.join(self._output_dir, f"action_{action.id}_{firing.number}")
        return base + ".o", base + ".e"
