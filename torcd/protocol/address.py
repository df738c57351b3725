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
    fingerprint: str | None = None
    """Of the daemon's certificate; set by users who do without the connection file."""
    listen: str = "auto"
    """Where the daemon listens for other hosts: `auto`, `off` or `host:port`."""
    lease: str | None = None
    """How many seconds the daemon waits for a worker that is away."""
    slurm_poll: str | None = None
    """How many seconds pass between looks at Slurm."""
    is_file_named: bool = False
    """Whether the environment names the connection file: whoever started this process says which daemon is meant."""
    is_database_chosen: bool = False
    """Whether the database is not the default one: then a daemon with another is not the one that is meant."""

    def __repr__(self) -> str:
        return f"Places(database={str(self.database)!r}, socket={str(self.socket)!r})"  # never the token

    @property
    def lock(self) -> Path:
        """The file that a daemon keeps locked for its whole life."""
        return self.database.with_name(self.database.name + ".lock")

    @property
    def certificate(self) -> Path:
        """The daemon's certificate and its key."""
        return self.connection_file.with_name("tls.pem")


SETTINGS = ("connection_file", "database", "fingerprint", "lease", "listen", "slurm_poll", "socket", "token", "url")
"""What the config file may set."""


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
    unknown = sorted(set(config) - set(SETTINGS))
    if unknown:
        raise Refused(f"{path}: unknown setting {unknown[0]!r}; known: {', '.join(SETTINGS)}", file=str(path))
    if "token" in config and path.stat().st_mode & 0o077:
        raise Refused(
            f"{path}: holds a token and is open to other users: chmod 600 it, and have a new token made with "
            "`torcctl daemon rotate-token`",
            file=str(path),
        )
    for name in ("lease", "slurm_poll"):
        if type(config.get(name)) in (int, float):
            config[name] = str(config[name])
    for name, value in config.items():
        if not isinstance(value, str):
            raise Refused(f"{path}: {name} must be a string", file=str(path), field=name)
    return config


def _runtime_socket(environ: Mapping[str, str]) -> Path:
    runtime = _base_directory(environ, "XDG_RUNTIME_DIR")
    if runtime is not None:
        return runtime / "torc" / "torcd.sock"
    return Path("/tmp") / f"torc-{os.getuid()}" / "torcd.sock"


def _base_directory(environ: Mapping[str, str], name: str) -> Path | None:
    """What an XDG variable says; a relative path is to be ignored (XDG Base Directory Specification), else each working
    directory would have a daemon of its own."""
    path = Path(environ.get(name) or "")
    return path if path.is_absolute() else None


def _follow(database: Path) -> Path:
    """The database that a link leads to: the files beside it, and its lock, belong to that. Raises Refused."""
    try:
        return database.resolve() if database.is_symlink() else database
    except (OSError, RuntimeError) as error:  # the latter is how Python 3.11 tells of links in a circle
        why = error.strerror if isinstance(error, OSError) else "its links lead in a circle"
        raise Refused(
            f"database {database}: it cannot be looked at: {why}. Set HOME, XDG_STATE_HOME or TORCD_DATABASE to a "
            "place of yours",
            database=str(database),
        ) from error


def find_places(
    environ: Mapping[str, str],
    *,
    url: str | None = None,
    database: str | None = None,
    socket: str | None = None,
    listen: str | None = None,
    lease: str | None = None,
) -> Places:
    """The places that apply; arguments are flags. Raises Refused when the config file or the database's path is bad."""
    home = Path(environ.get("HOME") or Path.home())
    config_home = _base_directory(environ, "XDG_CONFIG_HOME") or home / ".config"
    state_home = _base_directory(environ, "XDG_STATE_HOME") or home / ".local" / "state"
    config = _read_config(config_home / "torc" / "config.toml")
    default = state_home / "torc" / "torc.db"
    chosen_database = database or environ.get("TORCD_DATABASE") or config.get("database")
    database_path = _follow(Path(chosen_database or default).absolute())
    named_file = environ.get("TORCD_CONNECTION_FILE")
    connection_file = named_file or config.get("connection_file")
    chosen = socket or environ.get("TORCD_SOCKET") or config.get("socket")
    return Places(
        database=database_path,
        socket=Path(chosen).absolute() if chosen else _runtime_socket(environ),
        connection_file=Path(connection_file or state_home / "torc" / "connect.json").absolute(),
        log=database_path.with_name("torcd.log"),
        url=url or environ.get("TORC_URL") or config.get("url"),
        token=environ.get("TORC_TOKEN") or config.get("token"),
        fingerprint=environ.get("TORC_FINGERPRINT") or config.get("fingerprint"),
        listen=listen or environ.get("TORCD_LISTEN") or config.get("listen") or "auto",
        is_file_named=bool(named_file),
        is_database_chosen=database_path != default.absolute(),
        lease=lease or environ.get("TORCD_LEASE") or config.get("lease"),
        slurm_poll=environ.get("TORCD_SLURM_POLL") or config.get("slurm_poll"),
    )


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where a daemon is, and what it takes to be let in and to be sure that it is the one."""

    url: str
    token: str | None = None
    fingerprint: str | None = None
    file: str | None = None
    """The connection file that all of this is from; after a loss it may say something else."""

    def __repr__(self) -> str:
        return f"Address({self.url!r})"  # never the token


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


def need_fingerprint(address: Address) -> str:
    """What a `wss://` address cannot do without; raises Refused."""
    if address.fingerprint is None:
        raise Refused(
            f"{address.url}: the fingerprint of the daemon's certificate is not known: set TORC_FINGERPRINT, or have "
            "the connection file of the daemon's host here",
            url=address.url,
        )
    return address.fingerprint


def tcp_url(host: str, port: int) -> str:
    """The address of a TCP listener with TLS; `host` is a name or a number."""
    return f"wss://[{host}]:{port}" if ":" in host else f"wss://{host}:{port}"


def unix_url(path: Path) -> str:
    """The address of a Unix socket."""
    return "ws+unix://" + quote(str(path))
