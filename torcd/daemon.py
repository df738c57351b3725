"""Builds the daemon and runs it: lock, database, actors, sockets; and takes it down in the opposite order."""

import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trio

from torcd import __version__, systemd
from torcd.actors.allocator import Allocator
from torcd.actors.clock import now_ms
from torcd.actors.lease import parse_lease
from torcd.actors.means import Means
from torcd.actors.messages import Nudge
from torcd.actors.pace import parse_poll
from torcd.actors.supervisor import Supervisor
from torcd.api.allocations import Allocations, wakes_allocator
from torcd.api.dispatch import Dispatch
from torcd.api.health import HealthDesk
from torcd.api.limits import Limits, Usage
from torcd.api.listener import adopt_unix_listener, open_unix_listener
from torcd.api.proposals import Proposer
from torcd.api.remote import Remote
from torcd.api.server import Listener, serve
from torcd.api.suggestions import Suggester
from torcd.api.sync import Syncs
from torcd.bus import Bus
from torcd.descriptors import fit
from torcd.files.scan import Scanner
from torcd.memory import collect_regularly, set_up_memory
from torcd.open_files import raise_limit
from torcd.protocol.address import Places, unix_url
from torcd.protocol.errors import TorcError
from torcd.protocol.model import Daemon, Event
from torcd.protocol.requests import CancelWorkflow
from torcd.protocol.slurm import ScheduleNodes
from torcd.slurm.client import Slurm
from torcd.storage.actions import find_workflows_with_open_firings
from torcd.storage.database import Database, open_database
from torcd.storage.lock import Lock, acquire_lock
from torcd.storage.nouns import load_events
from torcd.storage.ownership import check_ownership
from torcd.storage.replacement import complete_restore
from torcd.storage.save import fail_active_tasks
from torcd.storage.workers import find_workflows_with_workers

logger = logging.getLogger(__name__)

STALL_SWITCH_S = 0.001
"""How long Python code in a thread may keep the event loop waiting: expanding a large specification, say."""


async def run_daemon(places: Places, umask: int = 0o077) -> None:
    """Runs until SIGTERM, SIGINT or `daemon.stop`; raises a TorcError when it cannot start.

    `umask` is that of whoever started it: commands of actions get it back.
    """
    sys.setswitchinterval(STALL_SWITCH_S)
    set_up_memory()
    lease_s, poll_s = parse_lease(places.lease), parse_poll(places.slurm_poll)
    limits = fit(Limits(silence_s=lease_s / 2), raise_limit())
    started_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    check_ownership(places.database)
    with acquire_lock(places.lock) as lock:
        if complete_restore(places.database):
            logger.warning("database %s: a restore that was interrupted is completed", places.database)
        async with AsyncExitStack() as resources:
            remote = Remote(places)
            resources.callback(remote.close)
            await remote.claim()
            database = await resources.enter_async_context(_open_noted(places.database, lock))
            await _settle(database)
            scanner = Scanner()
            resources.push_async_callback(scanner.aclose)
            descriptors = systemd.inherited_listeners()
            if descriptors:
                listeners: list[Listener] = [adopt_unix_listener(descriptor) for descriptor in descriptors]
            else:
                unix = open_unix_listener(places.socket)
                resources.callback(unix.remove)
                listeners = [unix.listener]
            await remote.open()
            if remote.listener is not None:
                listeners.append(remote.listener)
            bus = Bus()
            supervisor = Supervisor(database, bus, scanner, lease_s)
            slurm = Slurm(os.environ)
            allocator = Allocator(
                database,
                supervisor,
                slurm,
                places,
                poll_s=poll_s,
                is_reachable=lambda: remote.listener is not None,
            )
            can_submit = trio.Event()

            async def schedule(workflow_id: int, **what: Any) -> tuple[list[int], list[str]]:
                await can_submit.wait()  # actors are there before the allocator is
                request = ScheduleNodes(workflow_id=workflow_id, umask=umask, **what)
                made = await allocator.schedule(workflow_id, request)
                return [each.id for each in made.allocations], made.warnings

            supervisor.means = Means(url=unix_url(places.socket), umask=umask, schedule=schedule)
            stop = trio.Event()

            def describe() -> Daemon:
                return Daemon(
                    running=True,
                    pid=os.getpid(),
                    url=unix_url(places.socket),
                    version=__version__,
                    started_at=started_at,
                    database=str(places.database),
                    database_check=database.health.state,
                    database_damage=None if database.health.damage is None else database.health.damage.message,
                    remote_url=remote.url,
                    fingerprint=remote.fingerprint,
                )

            async def read_events(workflow_id: int, after_seq: int, limit: int) -> list[Event]:
                return await database.read(lambda db: load_events(db, workflow_id, after_seq, limit))

            usage = Usage()
            desk = HealthDesk(database, supervisor, bus, usage, allocator.health)
            handlers = {
                **Dispatch(database, supervisor, describe, stop.set).handlers(),
                **desk.handlers(),
                **remote.handlers(),
                **Allocations(database, allocator).handlers(),
                **Suggester(database, slurm).handlers(),
                **Proposer(database, slurm).handlers(),
                **Syncs(database, supervisor, allocator.find_ended).handlers(),
            }
            handlers[CancelWorkflow] = wakes_allocator(handlers[CancelWorkflow], allocator)
            async with trio.open_nursery() as nursery:
                await nursery.start(supervisor.run)
                for workflow_id in await database.read(find_workflows_with_workers):
                    supervisor.post(workflow_id, Nudge())  # their leases start now
                server = trio.CancelScope()

                async def run_server(*, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED) -> None:
                    with server:
                        await serve(
                            listeners,
                            handlers,
                            bus,
                            read_events,
                            limits,
                            allowed_uid=os.getuid(),
                            usage=usage,
                            token=remote.token,
                            task_status=task_status,
                        )
                    nursery.cancel_scope.cancel()

                nursery.start_soon(collect_regularly)
                nursery.start_soon(_wait_for_signal, stop)
                nursery.start_soon(desk.pulse.run)
                await nursery.start(allocator.run)
                can_submit.set()
                await nursery.start(run_server)
                for workflow_id in await database.read(find_workflows_with_open_firings):
                    supervisor.post(workflow_id, Nudge())
                systemd.notify("READY=1")
                nursery.start_soon(database.watch)
                logger.info("torcd %s serves %s at %s", __version__, places.database, unix_url(places.socket))
                await stop.wait()
                logger.info("stopping")
                systemd.notify("STOPPING=1")
                server.cancel()


@asynccontextmanager
async def _open_noted(path: Path, lock: Lock) -> AsyncIterator[Database]:
    """The database, which the lock says is in use until it is closed in order: also when the daemon cannot start."""
    refusal: TorcError | None = None
    async with open_database(path, was_left_open=lock.was_left_open) as database:
        lock.note_opened()
        try:
            yield database
        except TorcError as error:  # raised again below: what leaves this block is then a failure to close
            refusal = error
    lock.note_closed()
    if refusal is not None:
        raise refusal


async def _settle(database: Database) -> None:
    """Ends the tasks that a former daemon was at: nothing of them was done (SEMANTICS 6.6)."""
    for workflow_id, task_id in await database.commit(lambda db: fail_active_tasks(db, now_ms())):
        logger.warning("workflow %d: task %d was interrupted by the daemon's end", workflow_id, task_id)


async def _wait_for_signal(stop: trio.Event) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            logger.info("got %s", signal.Signals(number).name)
            stop.set()
