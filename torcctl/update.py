"""Updating a workflow from a changed specification file, and showing what that changes."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from torcctl.create import send_specification, with_lines
from torcctl.output import cell
from torcctl.specification import load_specification
from torcd.protocol.errors import Refused
from torcd.protocol.update import CHANGES, SECTIONS, GetUpdate, UpdateWorkflow

if TYPE_CHECKING:
    from torcctl.context import Context
    from torcd.protocol.client import Connection

NOUNS = {
    "jobs": ("job", "jobs"),
    "files": ("file", "files"),
    "user_data": ("user data", "user data"),
    "resource_requirements": ("resource requirement", "resource requirements"),
}
"""One and many of each section."""

MARKS = {"added": "+", "changed": "~", "removed": "-"}


def update_workflow(
    context: "Context", workflow_id: int, path: Path, *, dry_run: bool, expect: str | None
) -> dict[str, Any]:
    """Updates a workflow, or only shows how; the answer has a list of each section and kind of change.

    When the answer is lost all is sent again: what was done already is no difference any more. Raises Refused, with
    the line of each error where the format gives one, and Conflict.
    """
    loaded = load_specification(path)

    def attempt() -> dict[str, Any]:
        session = context.connection
        header, upload = send_specification(session, loaded.spec)
        request = UpdateWorkflow(
            workflow_id=workflow_id, header=header, upload=upload, dry_run=dry_run, expect=expect
        )  # fmt: skip
        answer = msgspec.json.decode(session.call(request, timeout_s=None), type=dict[str, Any])
        if context.options.json or dry_run:
            _add_pages(session, answer)
        return answer

    try:
        answer = context.persistently(attempt)
    except Refused as error:
        raise with_lines(error, loaded) from error
    for warning in answer["warnings"]:
        context.warn(warning)
    return _sorted(answer)


def _add_pages(session: "Connection", answer: dict[str, Any]) -> None:
    """Completes the differences; all of them come from one session."""
    cursor = answer["next_cursor"]
    while cursor is not None:
        raw = session.call(GetUpdate(update=answer["update"], cursor=cursor))
        page = msgspec.json.decode(raw, type=dict[str, Any])
        answer["differences"] += page["differences"]
        cursor = page["next_cursor"]


def _sorted(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer as programs see it: the differences by section and by what happens."""
    sections: dict[str, dict[str, list[Any]]] = {name: {change: [] for change in CHANGES} for name in SECTIONS}
    for each in answer["differences"]:
        sections[each.pop("section")][each.pop("change")].append(each)
    head = {name: answer[name] for name in ("workflow_id", "dry_run", "count", "plan_digest", "counts")}
    tail = {name: answer[name] for name in ("header", "results_removed", "warnings")}
    return head | sections | tail


def write_update(answer: dict[str, Any]) -> None:
    """Prints what was changed or, in full, what would be."""
    is_dry = answer["dry_run"]
    lines = []
    for section in SECTIONS:
        sentence = _count(section, answer["counts"][section], is_dry=is_dry)
        if sentence:
            lines.append(sentence)
            if is_dry:
                lines += _list(answer[section])
    if answer["header"]:
        fields = ", ".join(each["field"] for each in answer["header"])
        lines.append(f"header {'would be ' if is_dry else ''}changed: {fields}")
    start = "Dry run" if is_dry else f"Updated workflow {answer['workflow_id']}"
    if not lines:
        nothing = "nothing would be changed" if is_dry else "nothing was changed"
        start, lines = ("Dry run" if is_dry else f"Workflow {answer['workflow_id']}"), [nothing]
    sys.stdout.write(f"{start}: " + "\n".join(lines) + "\n")


def _count(section: str, counts: dict[str, int], *, is_dry: bool) -> str:
    """`1 job would be added, 2 changed, 1 removed`; empty when there is nothing."""
    parts = [(counts[change], change) for change in CHANGES if counts[change]]
    if not parts:
        return ""
    (count, change), *others = parts
    noun = NOUNS[section][count != 1]
    return ", ".join(
        [f"{count} {noun} {'would be ' if is_dry else ''}{change}", *(f"{count} {change}" for count, change in others)]
    )


def _list(differences: dict[str, list[dict[str, Any]]]) -> list[str]:
    """A line for each object."""
    return [
        f"  {MARKS[change]} {cell(each['name'])}{_remark(each)}"
        for change in CHANGES
        for each in differences[change]
    ]  # fmt: skip


def _remark(difference: dict[str, Any]) -> str:
    """What else a line says: the fields that differ, the results that go."""
    if "fields" in difference:
        return f" ({', '.join(each['field'] for each in difference['fields'])})"
    results = difference.get("results", 0)
    if not results:
        return ""
    return " (with 1 result)" if results == 1 else f" (with {results} results)"
