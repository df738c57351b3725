"""Where the daemon is found and where its things lie: flag > environment > config file > default."""

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import msgspec

from torcd.protocol.errors import Refused


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """The files of one user's daemon."""

    database: Path
    socket: Path
    connection_file: Path
    log: Path
    url: str | None = None
    """An address set by the user; the daemon is then never started by the client."""
    token: str | None = None

    @property
    def lock(self) -> Path:
        """The file that a daemon keeps locked for its whole life."""
        return self.database.with_name(self.database.name + ".lock")


def _read_config(path: Path) -> dict[str, str]:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return {}
    import tomllib  # few users have the file, and every command would pay for it

    try:
        config = tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Refused(f"{path}: not TOML: {error}", file=str(path)) from error
    unknown = sorted(set(config) - {"database", "socket", "url", "token"})
    if unknown:
        raise Refused(f"{path}: unknown setting {unknown[0]!r}; known: database, socket, url, token", file=str(path))
    for name, value in config.items():
        if not isinstance(value, str):
            raise Refused(f"{path}: {name} must be a string", file=str(path), field=name)
    return config


def _runtime_socket(environ: Mapping[str, str]) -> Path:
    runtime = environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime) / "torc" / "torcd.sock"
    return Path("/tmp") / f"torc-{os.getuid()}" / "torcd.sock"


def find_places(
    environ: Mapping[str, str],
    *,
    url: str | None = None,
    database: str | None = None,
    socket: str | None = None,
) -> Places:
    """The places that apply; arguments are flags. Raises Refused when the config file is bad."""
    home = Path(environ.get("HOME") or Path.home())
    config_home = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    state_home = Path(environ.get("XDG_STATE_HOME") or home / ".local" / "state")
    config = _read_config(config_home / "torc" / "config.toml")
    database_path = Path(
        database or environ.get("TORCD_DATABASE") or config.get("database") or state_home / "torc" / "torc.db"
    ).absolute()
    chosen = socket or environ.get("TORCD_SOCKET") or config.get("socket")
    return Places(
        database=database_path,
        socket=Path(chosen).absolute() if chosen else _runtime_socket(environ),
        connection_file=state_home / "torc" / "connect.json",
        log=database_path.with_name("torcd.log"),
        url=url or environ.get("TORC_URL") or config.get("url"),
        token=environ.get("TORC_TOKEN") or config.get("token"),
    )


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed address: a Unix socket's path, or host and port."""

    path: str | None = None
    host: str | None = None
    port: int | None = None
    tls: bool = False


LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def parse_url(url: str) -> Endpoint:
    """The endpoint of `ws+unix:///path`, `wss://host:port` or, on loopback only, `ws://host:port`."""
    try:
        parts = urlsplit(url)
        path = unquote(parts.path)
        if parts.scheme == "ws+unix" and path.startswith("/") and "\0" not in path:
            return Endpoint(path=path)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise Refused(f"{url!r} is not an address: {error}", url=url) from error
    if parts.scheme in {"ws", "wss"} and host and port:
        if parts.scheme == "ws" and host not in LOOPBACK:
            raise Refused(f"{url!r}: plain ws:// is allowed on loopback only; use wss://", url=url)
        return Endpoint(host=host, port=port, tls=parts.scheme == "wss")
    raise Refused(f"{url!r} is not an address: use ws+unix:///path, wss://host:port or ws://localhost:port", url=url)


def unix_url(path: Path) -> str:
    """The address of a Unix socket."""
    return "ws+unix://" + quote(str(path))
