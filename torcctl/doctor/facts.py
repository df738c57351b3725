"""What doctor finds out. None, or an empty string, stands for what could not be found out."""

import msgspec

from torcctl.condition import Condition


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the facts."""


class Disk(Fact, frozen=True, kw_only=True):
    """The file system of the database's directory, or of the nearest one above it that exists."""

    path: str
    answers: bool = True
    kind: str = "unknown"
    is_local: bool = True
    free_bytes: int | None = None
    free_inodes: int | None = None
    """None also where inodes are made as needed (btrfs)."""


class Private(Fact, frozen=True, kw_only=True):
    """A file or directory that is nobody else's business; `closed`: what of its mode has to be off."""

    path: str
    owner: int
    mode: int
    closed: int = 0o077


class Limits(Fact, frozen=True, kw_only=True):
    """What the daemon may use, or would if it was started from here; None: as much as there is."""

    whose: str
    cpu_s: int | None = None
    open_files: int | None = None
    processes: int | None = None
    processes_now: int | None = None
    """Those of this user on this machine."""
    memory_bytes: int | None = None
    """Of the control group; the same for its processes."""
    group_processes: int | None = None


class Clock(Fact, frozen=True, kw_only=True):
    """How this machine's clock goes. `skews`: the seconds by which the file systems of directories are ahead."""

    year: int
    skews: dict[str, float] = {}
    jump_s: float | None = None
    """Since the daemon started, against a clock that nobody sets."""


class Package(Fact, frozen=True, kw_only=True):
    """A package that torcd needs: what it wants, as in its metadata, and what is there."""

    name: str
    wanted: str
    found: str | None


class Slurm(Fact, frozen=True, kw_only=True):
    """Slurm's programs, and what `scontrol ping` came to."""

    sbatch: str | None
    code: int | None = None
    said: str = ""


class ServiceFacts(Fact, frozen=True, kw_only=True):
    """The service manager and the unit files."""

    absent: str | None
    """Why there is no service manager."""
    is_installed: bool = False
    is_ours: bool = False
    for_these_places: bool = False
    version: str | None = None
    command: str | None = None
    command_exists: bool = True
    enabled: str = ""
    active: str = ""
    lingers: bool | None = None
    kills_processes: bool | None = None


class ConnectionFile(Fact, frozen=True, kw_only=True):
    """The file by which other hosts find the daemon."""

    path: str
    mode: int
    host: str = ""
    pid: int = 0
    is_here: bool = False
    """Whether it names this host."""
    is_alive: bool = False
    """Whether that daemon lives, as far as it is on this host."""


class Facts(Fact, frozen=True, kw_only=True):
    """Everything."""

    uid: int
    version: str
    python: str
    sqlite: str
    socket: str
    condition: Condition
    failed_start: str | None = None
    """Why the last daemon did not start, if none runs now."""
    url: str | None
    """An address that the user has set."""
    url_from: str = ""
    url_error: str | None = None
    environment: dict[str, str] = {}
    """What of TORC_* and XDG_* is set."""
    workflow_missing: bool = False
    """Whether TORC_WORKFLOW_ID names a workflow that there is not."""
    disk: Disk
    private: list[Private]
    limits: Limits
    clock: Clock
    packages: list[Package]
    slurm: Slurm
    service: ServiceFacts
    connection_file: ConnectionFile | None = None
