"""From rows to what users see."""

from datetime import UTC, datetime


def format_time(unix_ms: int) -> str:
    """An RFC 3339 UTC time with milliseconds."""
    return datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{unix_ms % 1000:03d}Z"
