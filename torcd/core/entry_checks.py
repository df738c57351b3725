"""Checks of the single values in a document's entries against its own state: versions, runs, statuses, records."""

from collections.abc import Sequence
from typing import Any

import msgspec

from torcd.core.document import find_duplicate
from torcd.core.problems import Problems
from torcd.core.status import Status, StatusReason
from torcd.protocol.depth import MAX_DEPTH, is_too_deep
from torcd.protocol.document import FormerRecord, Record, Standing
from torcd.protocol.model import STATUSES

STATUS_OF = {name: Status(number) for number, name in enumerate(STATUSES)}
_REASONS = {reason.name.lower(): reason for reason in StatusReason if reason}


class EntryChecks:
    """Notes what is wrong; `where` is always the path of the value, or of the list, that is checked."""

    def __init__(self, state: Standing, problems: Problems) -> None:
        self._state = state
        self._problems = problems

    def check_version(self, where: str, version: int) -> None:
        """No version is above the version counter."""
        counter = self._state.version_counter
        if version > counter:
            self._problems.add(where, version, f"{version} is above the version counter, which is {counter}")

    def check_versions(self, where: str, versions: Sequence[int]) -> None:
        """Versions of one thing ascend, each once."""
        last = -1
        for place, version in enumerate(versions):
            if version <= last:
                self._problems.add(f"{where}[{place}].version", version, f"{version} does not come after {last}")
            self.check_version(f"{where}[{place}].version", version)
            last = version

    def check_run(self, where: str, run_id: int) -> None:
        """No run is later than the workflow's."""
        if run_id > self._state.run_id:
            self._problems.add(where, run_id, f"run {run_id} is later than the workflow's own, {self._state.run_id}")

    def check_record(self, where: str, record: Record | FormerRecord) -> None:
        """A record is of a file that was there, or of one that was not."""
        if (record.mtime_ns is None) != (record.size is None):
            self._problems.add(where, None, "mtime_ns and size stand together, or neither: the file was absent")
        elif record.size is None and (record.digest is not None or getattr(record, "is_racy", False)):
            self._problems.add(where, None, "an absent file has no content")

    def find_status(self, where: str, name: str) -> Status:
        """The status of this name, uninitialized if there is none."""
        status = STATUS_OF.get(name)
        if status is None:
            self._problems.add(where, name, f"there is no status {name!r}", near=STATUSES)
            return Status.UNINITIALIZED
        return status

    def find_reason(self, where: str, name: str | None) -> StatusReason:
        """The status reason of this name."""
        if name is None:
            return StatusReason.NONE
        reason = _REASONS.get(name)
        if reason is None:
            self._problems.add(where, name, f"there is no status reason {name!r}", near=_REASONS)
            return StatusReason.NONE
        return reason

    def read_value(self, where: str, text: bytes) -> Any:
        """A JSON value; None also when it cannot be taken."""
        try:
            value = msgspec.json.decode(text)
        except (ValueError, RecursionError) as error:
            self._problems.add(where, None, f"it cannot be read: {error}")
            return None
        if is_too_deep(value):
            self._problems.add(where, None, f"nested more than {MAX_DEPTH} deep")
            return None
        if msgspec.json.encode(value) != text and (key := find_duplicate(text.decode())) is not None:
            self._problems.add(where, key, f"the key {key!r} stands twice in the same object")
        return value
