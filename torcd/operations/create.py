"""Creates a workflow from a specification: expand and check it, look for scripts, write it at once."""

import os
import posixpath
import re
import stat
import time
from collections.abc import Sequence

from torcd.core.expansion import Expansion
from torcd.core.references import Patience
from torcd.core.scripts import find_words
from torcd.core.specification import expand
from torcd.protocol.errors import Refused
from torcd.protocol.requests import CreateWorkflow
from torcd.protocol.specification import Header, Piece
from torcd.storage.create import NewWorkflow
from torcd.storage.update import Specification


def prepare_workflow(request: CreateWorkflow, pieces: Sequence[Piece], now_ms: int) -> NewWorkflow:
    """Everything to write; raises Refused with every error that was found. Runs in a thread: it stats files."""
    directory = request.directory
    if not posixpath.isabs(directory):
        raise Refused(
            f"the submission directory must be an absolute path, not {directory!r}",
            field="directory",
            value=directory,
        )
    specification = prepare_specification(request.header, pieces, directory)
    return NewWorkflow(
        header=request.header,
        expansion=specification.expansion,
        scripts=specification.scripts,
        user=request.user,
        directory=directory,
        request_key=request.request_key,
        created_at_ms=now_ms,
    )


def prepare_specification(header: Header, pieces: Sequence[Piece], directory: str) -> Specification:
    """A specification, expanded and checked; raises Refused as above. Runs in a thread, too."""
    expansion = expand_patiently(header, pieces, directory)
    scripts = find_scripts(expansion, directory) if header.track_scripts else []
    return Specification(header=header, expansion=expansion, scripts=scripts)


def expand_patiently(header: Header, pieces: Sequence[Piece], directory: str) -> Expansion:
    """A specification, expanded and checked; its regular expressions get their time and no more. Raises Refused."""
    return expand(header, pieces, directory, patience=Patience(time.monotonic))


def find_scripts(expansion: Expansion, directory: str) -> list[tuple[int, str]]:
    """SEMANTICS 4.5: words of commands that are regular files under the directory and not declared."""
    found: list[tuple[int, str]] = []
    seen: dict[str, str | None] = {}
    declared = {normalize(file.path) for file in expansion.files}
    for index, job in enumerate(expansion.jobs):
        words = find_words(job.command)
        if job.invocation_script:
            words = [*words, *find_words(job.invocation_script)]
        for word in words:
            if word not in seen:
                seen[word] = find_script(word, directory, declared)
            path = seen[word]
            if path is not None:
                found.append((index, path))
    return found


def find_script(word: str, directory: str, declared: set[str]) -> str | None:
    """The absolute path of a word that is a script, else None."""
    base = directory.rstrip("/") + "/"
    path = normalize(word if word.startswith("/") else base + word)
    if path in declared or not path.startswith(base):
        return None
    try:
        is_file = stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return None  # a word that cannot be examined is a word like any other
    return path if is_file else None


_UNUSUAL = re.compile(r"//|/\.{1,2}(/|$)")


def normalize(path: str) -> str:
    """`posixpath.normpath`, several times faster for the paths that are normal already."""
    return posixpath.normpath(path) if _UNUSUAL.search(path) else path
