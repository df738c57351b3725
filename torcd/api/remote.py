"""How other hosts reach the daemon: its TCP listener, its token, and the connection file that tells of both.

The file is there also without a listener: it then keeps a client on another host from starting a second daemon
beside this one. It is written when the listener is open and removed when everything else has ended.
"""

import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
import trio

from torcd.api.certificate import open_certificate
from torcd.api.session import Handler, Session
from torcd.api.tcp import Listen, find_addresses, open_tcp_listener, plan_listen
from torcd.api.token import Token
from torcd.protocol.address import Places, tcp_url
from torcd.protocol.client import connect_to
from torcd.protocol.connection_file import LIMIT_BYTES, ConnectionFile, read_connection_file, this_process
from torcd.protocol.errors import Conflict, Refused, TorcError, Unavailable
from torcd.protocol.private_files import read_private, write_private
from torcd.protocol.remote_requests import RotateToken, Rotation
from torcd.protocol.requests import Request
from torcd.storage.lock import acquire_lock

logger = logging.getLogger(__name__)

EACH_ANSWER_S = 2.0
"""For each address of a daemon on another host that may hold the same database: it is awake, or it is gone."""

ANSWERS_S = 6.0
"""For all its addresses: whoever starts a daemon waits for 15 s at most."""


class Remote:
    """The ways in from other hosts: `claim` before the database is opened, `open` after that, `close` last."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._path = places.connection_file
        self._is_free = False
        self._written: ConnectionFile | None = None
        self.listener: trio.SSLListener[trio.SocketStream] | None = None
        self.token: Token | None = None

    @property
    def url(self) -> str | None:
        """The likeliest of the addresses; None without a listener."""
        file = self._written
        return None if file is None or file.port is None else tcp_url(file.addresses[0], file.port)

    @property
    def fingerprint(self) -> str | None:
        """The certificate's."""
        return None if self._written is None else self._written.fingerprint

    async def claim(self) -> None:
        """Finds out whether the connection file may be this daemon's. Call it with the daemon's lock held.

        Raises Conflict when a daemon on another host answers for this database, Refused when the settings ask for a
        listener of which nobody could know.
        """
        self._is_free = await trio.to_thread.run_sync(is_free_for, self._places)
        if self._is_free:
            return
        if self._is_asked_for:
            raise Refused(
                f"{self._path}: it names a daemon that runs and has another database. Set TORCD_CONNECTION_FILE for "
                "this one, so that other hosts can find both",
                path=str(self._path),
            )
        logger.warning("%s names another daemon that runs: other hosts do not find this one", self._path)

    async def open(self) -> None:
        """Listens if the settings say so, and writes the connection file.

        Raises Refused when a listener that was asked for cannot be had; one that was not is done without.
        """
        if not self._is_free:
            return
        try:
            await self._open(plan_listen(self._places.listen, self._path))
        except Refused as error:
            if self._is_asked_for:
                raise
            logger.warning("other hosts cannot reach it: %s", error.message)
            with suppress(Refused):  # they should at least know that it is there
                await self._open(None)

    @property
    def _is_asked_for(self) -> bool:
        return self._places.listen not in ("auto", "off")

    async def _open(self, listen: Listen | None) -> None:
        host, boot_id, pid = this_process()
        places = self._places
        file = ConnectionFile(
            host=host, boot_id=boot_id, pid=pid, database=str(places.database), socket=str(places.socket)
        )
        listener = token = None
        if listen is not None:
            certificate = open_certificate(places.certificate)
            listener, token = open_tcp_listener(listen, certificate.context), Token()
            addresses, port = find_addresses(listener)
            file = msgspec.structs.replace(
                file, addresses=addresses, port=port, token=token.value, fingerprint=certificate.fingerprint
            )
        try:
            self._write(file)
        except OSError as error:
            if listener is not None:
                await listener.aclose()
            raise Refused(f"{self._path}: cannot be written: {error.strerror}", path=str(self._path)) from error
        self.listener, self.token = listener, token
        if listener is not None:
            logger.info("other hosts reach it at port %d of %s", file.port, ", ".join(file.addresses))

    def _write(self, file: ConnectionFile) -> None:
        write_private(self._path, msgspec.json.encode(file))
        self._written = file

    def close(self) -> None:
        """Removes the connection file, unless it is another daemon's by now."""
        if self._written is not None:
            with suppress(OSError, Refused):
                if read_private(self._path, LIMIT_BYTES) == msgspec.json.encode(self._written):
                    self._path.unlink()

    def handlers(self) -> Mapping[type[Request], Handler]:
        """What clients may ask about this."""
        return {RotateToken: self._rotate}

    async def _rotate(self, session: Session, request: RotateToken) -> object:
        if self.token is None or self._written is None:
            raise Refused(
                "this daemon does not listen for other hosts, so it has no token. To have it listen set "
                "TORCD_LISTEN=:0 (or listen in config.toml) and start it again"
            )
        ended = await self.token.replace(self._save_token, keep=session)
        logger.info("the token was replaced; sessions that ended with the former one: %d", ended)
        return Rotation(rotated=True, sessions_ended=ended, connection_file=str(self._path))

    async def _save_token(self, token: str) -> None:
        assert self._written is not None
        file = msgspec.structs.replace(self._written, token=token)
        try:
            await trio.to_thread.run_sync(self._write, file)
        except OSError as error:
            raise Unavailable(
                f"the token was not replaced, because {self._path} cannot be written: {error.strerror}",
                path=str(self._path),
            ) from error


def is_free_for(places: Places) -> bool:
    """Whether the connection file may be this daemon's: False while it is that of another daemon with another
    database. Blocks; raises Conflict when a daemon on another host answers for this database.

    The daemon's own lock excludes one for the same database on this host. Whether it does so on others depends on
    the file system; therefore the daemon that the file names is called.
    """
    path = places.connection_file
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        named = read_connection_file(path)
    except Refused as error:
        logger.warning("it is replaced: %s", error.message)
        return True
    if named is None or named.is_of_dead:
        return True
    is_same = _is_same_database(named, places)
    if named.is_of_this_boot:
        return is_same or not _is_locked(Path(named.database))
    if not _answers(named, path):
        logger.warning("%s named torcd on %s, which does not answer: it is replaced", path, named.host)
        return True
    if is_same:
        raise Conflict(
            f"torcd runs on host {named.host} (process {named.pid}) for this database already. Use that, or stop it "
            "with `torcctl daemon stop`",
            host=named.host,
        )
    return False


def _is_same_database(named: ConnectionFile, places: Places) -> bool:
    """Hosts may know a directory by different names, but the file beside the connection file is one and the same."""
    if named.database == str(places.database):
        return True
    beside = places.database.parent == places.connection_file.parent
    return beside and Path(named.database).name == places.database.name


def _is_locked(database: Path) -> bool:
    lock = database.with_name(database.name + ".lock")
    try:
        if lock.exists():
            acquire_lock(lock).release()
    except Conflict:
        return True
    except (Refused, OSError):
        pass  # it is of no use to a daemon either
    return False


def _answers(named: ConnectionFile, path: Path) -> bool:
    deadline = time.monotonic() + ANSWERS_S
    for address in named.find_ways(path):
        if time.monotonic() > deadline:
            break
        with suppress(TorcError):
            connect_to(address, timeout_s=EACH_ANSWER_S).close()
            return True
    return False
