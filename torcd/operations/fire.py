"""Fires actions: each firing is noted in the transaction of the change that it follows from."""

from typing import Any

from torcd.core.actions import find_due, find_rearmed, is_due
from torcd.core.delta import Arm, Fire, FiringMove
from torcd.core.draft import Draft, Indexes
from torcd.core.state import Action
from torcd.protocol.actions import Firing, FiringStatus


def fire_due(draft: Draft) -> list[Firing]:
    """Fires whatever is due; what the firings ask for is to be done once the draft is committed."""
    return [_fire(draft, action) for action in find_due(draft.state)]


def _fire(draft: Draft, action: Action) -> Firing:
    state = draft.state
    action.is_armed = False
    action.fired += 1
    draft.write(Fire(action_id=action.id, number=action.fired, run_id=state.run_id, at_ms=draft.now_ms))
    firing = Firing(action_id=action.id, number=action.fired, run_id=state.run_id)
    draft.notify("action_fired", describe_firing(action, firing))
    return firing


def describe_firing(action: Action, firing: Firing) -> dict[str, Any]:
    """What events tell of a firing."""
    return {
        "action_id": action.id,
        "number": action.number,
        "firing": firing.number,
        "trigger_type": action.spec.trigger_type,
        "action_type": action.spec.action_type,
    }


def move_firing(draft: Draft, firing: Firing, status: FiringStatus, **columns: Any) -> None:
    """Notes where a firing has got to; the end of one is an event."""
    action = find_action(draft, firing.action_id)
    if action is None:
        return  # gone with an update
    draft.write(FiringMove(firing.action_id, firing.number, {"status": status, **columns}))
    if status != "running":
        told = {name: columns[name] for name in ("return_code", "error") if columns.get(name) is not None}
        draft.notify("action_ended", {**describe_firing(action, firing), "status": status, **told})


def find_action(draft: Draft, action_id: int) -> Action | None:
    """An action by its id, None when there is none any more."""
    return next((action for action in draft.state.actions if action.id == action_id), None)


def rearm(draft: Draft, changed: Indexes) -> None:
    """Arms the actions about jobs whose status an operation has changed."""
    set_armed(draft, find_rearmed(draft.state, changed), armed=True)


def arm_new(draft: Draft) -> None:
    """Arms actions that came with an update or an import and have not fired, but for those whose moment has passed."""
    state = draft.state
    new = [action for action in state.actions if not action.is_armed and not action.fired]
    set_armed(draft, [action for action in new if not (state.run_id and is_due(state, action))], armed=True)


def set_armed(draft: Draft, actions: list[Action], *, armed: bool) -> None:
    """Arms or disarms actions."""
    if actions:
        for action in actions:
            action.is_armed = armed
        draft.write(Arm(actions=[action.id for action in actions], is_armed=armed))
