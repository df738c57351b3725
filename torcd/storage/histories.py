"""What files and user data were before: their versions as lists."""

import msgspec

from torcd.protocol.model import FileVersion, UserDataVersion
from torcd.storage.lists import NUMBER, Listing, Row


def _make_file_version(row: Row) -> FileVersion:
    is_present = row[3] >= 0
    return FileVersion(
        version=row[0],
        file_id=row[1],
        recorded="present" if is_present else "absent",
        mtime_ns=row[2] if is_present else None,
        size=row[3] if is_present else None,
    )


FILE_HISTORY = Listing(
    select="SELECT version, file_id, mtime_ns, size FROM"
    " (SELECT workflow_id, file_id, version, mtime_ns, size FROM file_record"
    " UNION ALL SELECT workflow_id, file_id, version, mtime_ns, size FROM file_history)",
    where="workflow_id = ? AND file_id = ?",
    key="version",
    filters={"version": ("version", NUMBER)},
    make=_make_file_version,
    newest_first=True,
)
"""The record of a file and those that it replaced."""


def _make_user_data_version(row: Row) -> UserDataVersion:
    return UserDataVersion(
        version=row[0],
        user_data_id=row[1],
        data=None if row[2] is None else msgspec.json.decode(row[2]),
        is_set=row[2] is not None,
    )


USER_DATA_HISTORY = Listing(
    select="SELECT version, user_data_id, data FROM user_data_version",
    where="workflow_id = ? AND user_data_id = ?",
    key="version",
    filters={"version": ("version", NUMBER)},
    make=_make_user_data_version,
    newest_first=True,
)
