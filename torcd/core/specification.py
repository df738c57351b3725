"""Expands a specification into plain jobs, files and user data, or refuses it with all that is wrong in it.

Pure and synchronous (it runs in a thread of the daemon); SEMANTICS 3. It knows nothing of storage, ids or of
how a specification was read.
"""

from collections.abc import Sequence

import msgspec

from torcd.core.action_checks import resolve_actions
from torcd.core.dependencies import Dependencies
from torcd.core.expansion import Expansion, NewFile, NewUserData
from torcd.core.fingerprint import user_data_digest
from torcd.core.handler_checks import check_handlers
from torcd.core.paths import base_of, resolve_path
from torcd.core.problems import Problems
from torcd.core.references import ENDLESS, Names, Patience
from torcd.core.requirements import BAD_NAME, check_env, check_header, is_bad_name, parse_requirements
from torcd.core.resolve import Resolver
from torcd.core.unfold import SpecT, Unfolded, Unfolder
from torcd.protocol.depth import MAX_DEPTH, is_too_deep
from torcd.protocol.errors import Refused
from torcd.protocol.specification import FileSpec, Header, Piece, UserDataSpec

BAD_PATH = "a path must not be empty and must not hold NUL"


def expand(
    header: Header,
    pieces: Sequence[Piece],
    directory: str,
    problems: Problems | None = None,
    *,
    is_literal: bool = False,
    patience: Patience = ENDLESS,
) -> Expansion:
    """The expansion of a specification whose relative paths resolve against an absolute directory.

    `is_literal`: commands hold no variables to be replaced. `patience` limits the time of regular expressions.
    Problems are added to those given.

    Raises Refused with `data.errors`: a list of {path, field, value, message}, where `path` is the position
    in the specification as written (jobs are counted over all pieces). Problems are looked for in three
    rounds (objects; references; producers and cycles): each makes sense only when the one before found none.
    """
    if not directory.startswith("/"):
        raise Refused(f"the submission directory {directory!r} is not absolute", value=directory)
    problems = problems or Problems()
    check_header(header, problems)
    check_handlers(header.failure_handlers, problems)
    check_env(header.env, "env", problems)
    requirements = parse_requirements(header.resource_requirements, problems)
    unfolder = Unfolder(header.parameters, problems)
    files = unfolder.unfold_files([spec for piece in pieces for spec in piece.files])
    user_data = unfolder.unfold_user_data([spec for piece in pieces for spec in piece.user_data])
    jobs = unfolder.unfold_jobs([spec for piece in pieces for spec in piece.jobs])
    names = (
        _name(jobs, "job", "jobs", problems, patience),
        _name(files, "file", "files", problems, patience),
        _name(user_data, "user data", "user_data", problems, patience),
    )
    new_files = _build_files(files, directory, problems)
    problems.raise_any()

    resolver = Resolver(header, jobs, files.specs, names, problems, is_literal=is_literal)
    new_jobs = [resolver.resolve(index) for index in range(len(jobs.specs))]
    new_user_data = _build_user_data(user_data, problems)
    actions = resolve_actions(header.actions, names[0], header.slurm_schedulers, problems)
    problems.raise_any()

    Dependencies(new_jobs, names, resolver, problems).check()
    problems.raise_any()
    return Expansion(
        jobs=new_jobs, files=new_files, user_data=new_user_data, requirements=requirements, actions=actions
    )


def _name(unfolded: Unfolded[SpecT], noun: str, plural: str, problems: Problems, patience: Patience) -> Names:
    """Indexes the names of one kind; notes bad and duplicate ones."""
    names = Names(noun, [spec.name for spec in unfolded.specs], patience)
    for index, name in enumerate(names.names):
        if is_bad_name(name):
            problems.add(f"{plural}[{unfolded.origins[index]}].name", name, BAD_NAME)
    if len(names.index) < len(names.names):
        first: dict[str, int] = {}
        for index, name in enumerate(names.names):
            other = first.setdefault(name, index)
            if other != index:
                origin, earlier = unfolded.origins[index], unfolded.origins[other]
                message = (
                    f"several combinations of its parameters give the name {name!r}"
                    if origin == earlier
                    else f"the name {name!r} is already that of {plural}[{earlier}]"
                )
                problems.add(f"{plural}[{origin}].name", name, message)
    return names


def _build_files(unfolded: Unfolded[FileSpec], directory: str, problems: Problems) -> list[NewFile]:
    """The files with absolute paths; notes bad and duplicate paths."""
    base = base_of(directory)
    files = []
    by_path: dict[str, int] = {}
    for index, spec in enumerate(unfolded.specs):
        if not spec.path or "\0" in spec.path:
            problems.add(f"files[{unfolded.origins[index]}].path", spec.path, BAD_PATH)
        path = resolve_path(spec.path, base)
        other = by_path.setdefault(path.rstrip("/") if path[-1] == "/" else path, index)
        if other != index:
            where = f"files[{unfolded.origins[index]}].path"
            earlier = unfolded.specs[other].name
            message = f"the files {earlier!r} and {spec.name!r} have the same path {path!r}; give it one name"
            problems.add(where, spec.path, message)
        files.append(NewFile(name=spec.name, path=path, may_be_missing=spec.on_missing == "ignore"))
    return files


def _build_user_data(unfolded: Unfolded[UserDataSpec], problems: Problems) -> list[NewUserData]:
    user_data = []
    for index, spec in enumerate(unfolded.specs):
        data = digest = None
        if spec.data is not msgspec.UNSET:
            if is_too_deep(spec.data):
                where = f"user_data[{unfolded.origins[index]}].data"
                problems.add(where, None, f"the value is nested more than {MAX_DEPTH} deep")
            else:
                data, digest = msgspec.json.encode(spec.data), user_data_digest(spec.data)
        new = NewUserData(name=spec.name, data=data, digest=digest, is_ephemeral=spec.is_ephemeral)
        user_data.append(new)
    return user_data
