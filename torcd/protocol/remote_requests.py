"""What is asked of the daemon about its being reached from other hosts."""

from torcd.protocol.model import Answer
from torcd.protocol.requests import Request


class RotateToken(Request, frozen=True, kw_only=True):
    """Replaces the token at once. Sessions that came in with the former one end, but for the one that asks."""

    METHOD = "daemon.rotate_token"


class Rotation(Answer, frozen=True, kw_only=True):
    """The new token stands in the connection file, and nowhere else."""

    rotated: bool
    sessions_ended: int
    connection_file: str
