"""The unit files of torcd, as this installation needs them. Pure but for reading what is packaged.

What is written is what lies in `units/` (and `systemd/` of the repository), with the start of this installation and
the places of its user in the lines that name them. The places are fixed there, because a service manager does not
know the environment of shells. The log is the file that `daemon logs` reads: many users may not read the journal.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from torcd import __version__
from torcd.protocol.address import Places
from torcd.protocol.errors import Refused

SERVICE = "torcd.service"
SOCKET = "torcd.socket"

MARK = "# Written by `torcctl daemon install`"
"""The first line of what was written here, without the version."""

KEPT = ("XDG_CONFIG_HOME", "XDG_STATE_HOME")
"""What else says where things lie, if it is set."""

PACKAGED = Path(__file__).with_name("units")


def unit_directory(environ: Mapping[str, str]) -> Path:
    """Where `systemd --user` looks for a user's own units."""
    home = Path(environ.get("HOME") or Path.home())
    return Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "systemd" / "user"


def render_service(command: tuple[str, ...], places: Places, environ: Mapping[str, str]) -> str:
    """The service unit that runs `command` for these places."""
    start = " ".join([_quoted(_literal(command[0])), *(_quoted(_literal(word, dollar=True)) for word in command[1:])])
    log = _literal(str(places.log))
    lines: list[str] = []
    for line in _read(SERVICE):
        if line.startswith("ExecStart="):
            lines += [f"ExecStart={start}", *_environment(places, environ), f"StandardOutput=append:{log}"]
        else:
            lines.append(line)
    return _text(lines)


def render_socket(places: Places, environ: Mapping[str, str]) -> str:
    """The socket unit for these places."""
    listen = f"ListenStream={_socket(places, environ)}"
    return _text([listen if line.startswith("ListenStream=") else line for line in _read(SOCKET)])


def serves(text: str, places: Places, environ: Mapping[str, str]) -> bool:
    """Whether a service unit was written for these places."""
    return is_ours(text) and set(_pinned(places, environ)) <= set(text.splitlines())


def is_ours(text: str) -> bool:
    """Whether a unit file was written here."""
    return text.startswith(MARK)


def version_of(text: str) -> str | None:
    """The version of torcctl that wrote a unit file."""
    first = text.partition("\n")[0]
    return first.rpartition(" ")[2] if is_ours(text) else None


def _read(name: str) -> list[str]:
    return (PACKAGED / name).read_text().splitlines()


def _text(lines: list[str]) -> str:
    head = (
        f"{MARK}, which `torcctl daemon uninstall` removes; for changes: `systemctl --user edit`. Version {__version__}"
    )
    return "\n".join([head, *lines]) + "\n"


def _pinned(places: Places, environ: Mapping[str, str]) -> Iterator[str]:
    yield _assignment("TORCD_DATABASE", _literal(str(places.database)))
    yield _assignment("TORCD_SOCKET", _socket(places, environ))


def _environment(places: Places, environ: Mapping[str, str]) -> Iterator[str]:
    yield from _pinned(places, environ)
    pinned = ("TORCD_DATABASE", "TORCD_SOCKET")
    for name in sorted(environ):
        if name in KEPT or (name.startswith("TORCD_") and name not in pinned):
            yield _assignment(name, _literal(environ[name]))


def _socket(places: Places, environ: Mapping[str, str]) -> str:
    """The socket's path, by the specifier of the runtime directory if it is the default one."""
    runtime = environ.get("XDG_RUNTIME_DIR")
    if runtime and places.socket == Path(runtime) / "torc" / "torcd.sock":
        return "%t/torc/torcd.sock"
    return _literal(str(places.socket))


def _literal(text: str, *, dollar: bool = False) -> str:
    """The text with what systemd.unit(5) would replace doubled; in arguments dollars, too."""
    if "\n" in text or not text.isprintable():
        raise Refused(f"{text!r} cannot stand in a unit file: choose a path without control characters", value=text)
    text = text.replace("%", "%%")
    return text.replace("$", "$$") if dollar else text


def _quoted(text: str) -> str:
    plain = all(char.isalnum() or char in "/._-+:=@%,~$" for char in text) and text.isascii()
    if plain and text:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _assignment(name: str, value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'Environment="{name}={escaped}"'


def read_unit(name: str, environ: Mapping[str, str]) -> str | None:
    """The text of an installed unit file; None when there is none."""
    try:
        return (unit_directory(environ) / name).read_text(errors="replace")
    except OSError:
        return None


def start_command(text: str) -> str | None:
    """The program of a service unit, as far as it can be told: the first word of its ExecStart."""
    for line in text.splitlines():
        if line.startswith("ExecStart="):
            word = line.removeprefix("ExecStart=")
            if word.startswith('"'):
                word = word[1:].split('"')[0]  # what holds a quote itself is beyond what is looked at
                return word.replace("\\\\", "\\").replace("%%", "%")
            return os.path.expanduser(word.split(" ")[0].replace("%%", "%").replace("%h", "~"))
    return None
