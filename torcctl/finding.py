"""Where the daemon is: at the user's own address; else behind the local socket; else where the connection file says.

A connection file that the environment names comes before the local socket: jobs on other hosts are told so of their
daemon, and there may be another one on their host.

A connection file may be left over from a daemon that died. On that daemon's own host the kernel's lock on the database
tells: so nothing stands against a start there. About another host nobody here can know, and its lock may not reach
this one: then nothing is started, and the user is told what to do.
"""

import time
from pathlib import Path

from torcd.protocol.address import Address, Places, parse_url, unix_url
from torcd.protocol.client import CONNECT_TIMEOUT_S, Connection, NobodyAnswers, connect_to
from torcd.protocol.connection_file import ConnectionFile, read_connection_file
from torcd.protocol.errors import Unauthorized, Unreachable

EACH_WAY_S = 3.0
"""For each of several addresses: those that do not lead there from here are often silent. Looking up a name has the
time limits of the system's resolver instead."""

ALL_WAYS_S = 8.0
"""For all of them: with the rest of a worker's attempt to come back it stays below a quarter of its lease."""


class Elsewhere(Unreachable):
    """A daemon is said to run on another host, and cannot be reached: starting one here could be a second one."""


class Silent(Elsewhere):
    """It listens for other hosts but does not answer: it may be about to end, or to come back at another address."""


def url_of(places: Places) -> str:
    """The address at which the daemon is looked for first."""
    return places.url or unix_url(places.socket)


def find(places: Places, *, elsewhere: bool = True, timeout_s: float = CONNECT_TIMEOUT_S) -> Connection:
    """A session with the daemon.

    Raises NobodyAnswers when there is none, so that one may be started; Elsewhere when there may be one on another
    host, unless `elsewhere` is False and nobody is asked there; and what `connect_to` raises.
    """
    if places.url is not None:
        return connect_to(complete_address(places), timeout_s=timeout_s)
    if elsewhere and places.is_file_named and (meant := _find_meant(places)) is not None:
        return meant
    try:
        return connect_to(Address(url=unix_url(places.socket)), timeout_s=timeout_s)
    except NobodyAnswers as error:
        named = read_named(places) if elsewhere else None
        if named is None or named.is_of_dead:
            raise
        return _follow(named, places, error)


def find_named(places: Places) -> Connection:
    """A session with the daemon that the connection file names, whoever else listens on this host.

    For a worker of an allocation: its node may have a daemon of its own, with other workflows of the same numbers.
    """
    path = places.connection_file
    named = read_connection_file(path)
    if named is None:
        raise Unreachable(
            f"there is no connection file {path} on this host: the daemon has ended, or the file lies on a file system "
            "that the hosts do not share; `torcctl doctor`, on the daemon's host, tells",
            file=str(path),
        )
    if named.is_here:
        return connect_to(Address(url=unix_url(Path(named.socket))))
    nobody = NobodyAnswers(f"nobody answers at the addresses in {path}, host {named.host}", file=str(path))
    return _follow(named, places, nobody)


def _find_meant(places: Places) -> Connection | None:
    """A session with the daemon that the environment's connection file names; None: it is to be looked for as ever."""
    named = read_named(places)
    if named is None or named.is_of_dead or (named.is_here and named.socket == str(places.socket)):
        return None
    try:
        return _follow(named, places, NobodyAnswers(f"nobody answers where {places.connection_file} says"))
    except NobodyAnswers:
        return None


def read_named(places: Places) -> ConnectionFile | None:
    """What the connection file says, None when it is of a daemon with another database than the one chosen here."""
    named = read_connection_file(places.connection_file)
    if named is None or (places.is_database_chosen and named.database != str(places.database)):
        return None
    return named


def complete_address(places: Places) -> Address:
    """The user's own address; what is needed besides is from the connection file unless it was given, too.

    A token from the file is only for the daemon of that file, which its certificate tells.
    """
    assert places.url is not None
    token, fingerprint = places.token, places.fingerprint
    if parse_url(places.url).tls and (token is None or fingerprint is None):
        named = read_connection_file(places.connection_file)
        if named is not None:
            fingerprint = fingerprint or named.fingerprint
            if named.fingerprint == fingerprint:
                token = token or named.token
    return Address(url=places.url, token=token, fingerprint=fingerprint)


def _follow(named: ConnectionFile, places: Places, nobody: NobodyAnswers) -> Connection:
    """A session with the daemon that the connection file names. Raises `nobody` where one may be started."""
    if named.is_here:
        if named.socket == str(places.socket):
            raise nobody
        return connect_to(Address(url=unix_url(Path(named.socket))))  # as seen from a session without XDG_RUNTIME_DIR
    reasons = []
    deadline = time.monotonic() + ALL_WAYS_S
    for address in named.find_ways(places.connection_file):
        try:
            return connect_to(address, timeout_s=EACH_WAY_S)
        except (Unreachable, Unauthorized) as error:
            reasons.append(error.message)
        if time.monotonic() > deadline:
            break
    if named.is_of_this_boot:
        raise nobody  # of another container or namespace: they have the kernel, and so the lock, in common
    raise _elsewhere(named, places, reasons)


def _elsewhere(named: ConnectionFile, places: Places, reasons: list[str]) -> Elsewhere:
    said = f"torcd runs on host {named.host} (process {named.pid}), says {places.connection_file}"
    advice = "If that host is down, or torcd is not running there any more, `torcctl daemon start` starts one here"
    known = {"host": named.host, "file": str(places.connection_file)}
    if named.port is None:
        return Elsewhere(
            f"{said}, and does not listen for other hosts. Work on that host, or have it listen: set TORCD_LISTEN=:0 "
            f"(or listen in config.toml) there and start it again. {advice}",
            **known,
        )
    why = "".join(f"\n  {reason}" for reason in reasons)
    return Silent(f"{said}, but cannot be reached:{why}\n{advice}", **known)
