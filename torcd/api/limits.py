"""The limits of the websocket side, each with the reason for its default."""

import msgspec

from torcd.protocol import rpc


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one connection, and all of them together, may take. Tests make them small."""

    connections: int = 4096
    """A large cluster's workers; each costs some tens of KB and a descriptor."""
    strangers: int = 256
    """Connections from other hosts that have not said hello, apart from the others: as many again may be closing.
    A cluster's workers that all come back at once are let in by so many at a time."""
    stranger_bytes: int = 16 * 1024
    """What a stranger may send: the head of its handshake and a hello take less than 1 KB."""
    dawdle_s: float = 1
    """A stranger that takes longer makes room when there are too many: known ones need some milliseconds."""
    calls: int = 128
    """Calls in flight on a connection. A client that has more of them does not read its answers."""
    subscriptions: int = 64
    """Subscriptions of a connection; each is a task."""
    uploads: int = 4
    """Uploads of a connection that were begun and not used."""
    upload_bytes: int = 1024**3
    """All uploads of a connection, as JSON: a specification of a million jobs has about 300 MB."""
    frame_bytes: int = rpc.MAX_FRAME
    received_frames: int = 64
    """Frames read ahead of a session; one that does not keep up stops reading, and its peer blocks."""
    queued_frames: int = 64
    """Frames on their way to a peer; when there are more, whoever answers it waits."""
    handshake_s: float = 5
    """A local handshake takes a millisecond, TLS and its own over a bad network a second."""
    hello_s: float = 10
    """The first call follows the handshake at once; this is for a client that was stopped in between."""
    send_s: float = 30
    """A peer that reads nothing for so long is gone or stuck; it can connect again."""
    close_s: float = 2
    """For the last answers and the closing handshake: a stop of the daemon waits for it."""
