"""The limits of the websocket side, each with the reason for its default."""

import msgspec

from torcd.protocol import rpc
from torcd.protocol.silence import LONGEST_S


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one connection, and all of them together, may take. Tests make them small."""

    connections: int = 4096
    """A large cluster's workers; each costs some tens of KB and a descriptor."""
    local_connections: int = 64
    """Of these, what is left to the clients of this host when others take all they can."""
    heard_strangers: int = 32
    """Connections from other hosts that shake hands or are to say hello; each costs about 100 KB meanwhile."""
    strangers: int = 1024
    """Those that wait for that, with a descriptor each: all workers of a large cluster may come back at once."""
    stranger_bytes: int = 16 * 1024
    """What a stranger may send: the head of its handshake and a hello take less than 1 KB."""
    dawdle_s: float = 2
    """For both handshakes and the hello while others wait: they take some milliseconds, or as many as there are
    strangers on a busy processor."""
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
    silence_s: float = LONGEST_S
    """A host that has acknowledged nothing for so long has vanished. Half a lease, so that one begins in time."""
    send_s: float = 30
    """A peer that reads nothing for so long is gone or stuck; it can connect again."""
    close_s: float = 2
    """For the last answers and the closing handshake: a stop of the daemon waits for it."""


class Usage(msgspec.Struct, kw_only=True):
    """What is taken at present."""

    connections: int = 0
