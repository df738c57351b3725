"""Results that a worker could tell nobody: kept in a file, which the next worker of the workflow takes along.

That happens when a worker ends while the daemon is away, or when the daemon was updated to a protocol that the worker
does not speak. The file lies beside the jobs' logs, and later versions read it as they read messages.
"""

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from torcd.protocol.worker_requests import AttemptEnd

log = logging.getLogger(__name__)

PREFIX, SUFFIX = "unreported_", ".json"


class Unreported(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker left untold."""

    workflow_id: int
    worker_id: int
    hostname: str
    ended: list[AttemptEnd]


def save_unreported(output_dir: str, unreported: Unreported) -> None:
    """Writes the file, whole or not at all; where it cannot be written the log has to do."""
    path = Path(output_dir, f"{PREFIX}{unreported.worker_id}{SUFFIX}")
    count = len(unreported.ended)
    try:
        with tempfile.NamedTemporaryFile(dir=output_dir, delete=False) as file:
            file.write(msgspec.json.encode(unreported))
            file.flush()
            os.fsync(file.fileno())
        os.replace(file.name, path)
    except OSError as error:
        log.error("%d results could neither be reported nor written to %s: %s", count, path, error)
    else:
        log.warning(
            "%d results could not be reported; they are in %s, and the next torcctl run of workflow %d on this"
            " directory takes them along",
            count,
            path,
            unreported.workflow_id,
        )


def find_unreported(output_dir: str, workflow_id: int) -> Iterator[tuple[Path, Unreported]]:
    """What former workers of the workflow left here."""
    names = os.listdir(output_dir)  # there may be hundreds of thousands of logs: no glob
    for path in [Path(output_dir, name) for name in names if name.startswith(PREFIX) and name.endswith(SUFFIX)]:
        try:
            found = msgspec.json.decode(path.read_bytes(), type=Unreported)
        except FileNotFoundError:
            continue  # another worker took it along
        except (OSError, msgspec.DecodeError) as error:
            log.warning("%s cannot be read: %s", path, error)
            continue
        if found.workflow_id == workflow_id:
            yield path, found


def forget_unreported(path: Path) -> None:
    """They were told."""
    with contextlib.suppress(OSError):
        path.unlink()
