"""What is listed of actions and of their firings."""

import msgspec

from torcd.protocol.actions import Action, FiringShown
from torcd.protocol.specification import ActionSpec
from torcd.storage.lists import FLAG, NUMBER, TEXT, Listing, Row
from torcd.storage.rows import format_time

_decode_spec = msgspec.json.Decoder(ActionSpec).decode


def _time(at_ms: int | None) -> str | None:
    return None if at_ms is None else format_time(at_ms)


def _make_action(row: Row) -> Action:
    spec = _decode_spec(row[3])
    is_scheduling = spec.action_type == "schedule_nodes"
    return Action(
        id=row[0],
        action_id=row[0],
        workflow_id=row[1],
        number=row[2],
        trigger_type=spec.trigger_type,
        action_type=spec.action_type,
        num_jobs=row[6] or None,
        jobs=spec.jobs,
        job_name_regexes=spec.job_name_regexes,
        commands=spec.commands,
        scheduler=spec.scheduler,
        num_allocations=spec.num_allocations if is_scheduling else None,
        max_parallel_jobs=spec.max_parallel_jobs,
        is_armed=bool(row[4]),
        fired=row[5],
        status=row[7],
        fired_at=_time(row[8]),
        ended_at=_time(row[9]),
        return_code=row[10],
        error=row[11],
    )


_TRIGGER, _KIND = "a.spec ->> 'trigger_type'", "a.spec ->> 'action_type'"
ACTIONS = Listing(
    select="SELECT a.id, a.workflow_id, a.number, a.spec, a.is_armed, a.fired, (SELECT count(*) FROM action_job j"
    " WHERE j.workflow_id = a.workflow_id AND j.action_id = a.id), f.status, f.fired_at_ms, f.ended_at_ms,"
    " f.return_code, f.error FROM action a LEFT JOIN firing f ON f.action_id = a.id AND f.number = a.fired",
    where="+a.workflow_id = ?",
    key="a.id",
    filters={
        "id": ("a.id", NUMBER),
        "action_id": ("a.id", NUMBER),
        "number": ("a.number", NUMBER),
        "trigger_type": (_TRIGGER, TEXT),
        "action_type": (_KIND, TEXT),
        "is_armed": ("a.is_armed", FLAG),
        "fired": ("a.fired", NUMBER),
        "status": ("f.status", TEXT),
    },
    make=_make_action,
)


def _make_firing(row: Row) -> FiringShown:
    return FiringShown(
        id=row[0],
        firing_id=row[0],
        action_id=row[1],
        workflow_id=row[2],
        number=row[3],
        firing=row[4],
        run_id=row[5],
        trigger_type=row[6],
        action_type=row[7],
        status=row[8],
        fired_at=format_time(row[9]),
        started_at=_time(row[10]),
        ended_at=_time(row[11]),
        return_code=row[12],
        error=row[13],
        stdout_path=row[14],
        stderr_path=row[15],
        allocations=[] if row[16] is None else msgspec.json.decode(row[16]),
    )


FIRINGS = Listing(
    select=f"SELECT f.id, f.action_id, f.workflow_id, a.number, f.number, f.run_id, {_TRIGGER}, {_KIND}, f.status,"
    " f.fired_at_ms, f.started_at_ms, f.ended_at_ms, f.return_code, f.error, f.stdout_path, f.stderr_path,"
    " f.allocations FROM firing f JOIN action a ON a.id = f.action_id",
    where="+f.workflow_id = ?",
    key="f.id",
    filters={
        "id": ("f.id", NUMBER),
        "firing_id": ("f.id", NUMBER),
        "action_id": ("f.action_id", NUMBER),
        "number": ("a.number", NUMBER),
        "run_id": ("f.run_id", NUMBER),
        "status": ("f.status", TEXT),
        "return_code": ("f.return_code", NUMBER),
    },
    make=_make_firing,
)
