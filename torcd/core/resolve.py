"""Turns the names that plain job specifications hold into indexes (SEMANTICS 3.3, 3.4)."""

import re
from collections.abc import Collection
from functools import partial

from torcd.core.expansion import NewJob
from torcd.core.fingerprint import Definition, definition_digest
from torcd.core.problems import Problems
from torcd.core.quoting import substitute
from torcd.core.references import Names, compile_whole
from torcd.core.requirements import check_env
from torcd.core.unfold import REGEX_FIELDS, Unfolded
from torcd.protocol.errors import Refused
from torcd.protocol.specification import FileSpec, Header, JobSpec

PRIORITY_LIMIT = 2**31
"""Priorities stay within 32 bits."""

DEFAULT_REQUIREMENT = "default"
"""The requirement of jobs that name none, if the specification has one of this name."""

_VARIABLE = re.compile(r"\$\{((?:files|user_data)\.(?:input|output))\.([^{}]+)\}")
Implied = dict[str, list[int]]
"""What variables add to a job's lists, by the variable's kind: `files.input`, `user_data.output`, …"""

_NOTHING: Implied = {}

Links = tuple[list[int], list[str]]
"""The indexes of what a job refers to, ascending and each once, and the names of the same, in any order."""

_NO_LINKS: Links = ([], [])
"""Most lists of most jobs are empty: shared ones spare the garbage collector half a million objects."""


class Resolver:
    """Resolves the jobs of one specification; what is wrong goes to `problems`."""

    def __init__(
        self,
        header: Header,
        jobs: Unfolded[JobSpec],
        files: list[FileSpec],
        names: tuple[Names, Names, Names],
        problems: Problems,
        *,
        is_literal: bool = False,
    ) -> None:
        """`names` are those of the jobs, the files and the user data; `is_literal`: commands hold no variables."""
        self._is_literal = is_literal
        self._jobs = jobs
        self._files = files
        self._job_names, self._file_names, self._user_data_names = names
        self._problems = problems
        self._env = header.env
        self._requirements = {spec.name: index for index, spec in enumerate(header.resource_requirements)}
        self._default_requirement = self._requirements.get(DEFAULT_REQUIREMENT, -1)
        self._handlers = {spec.name for spec in header.failure_handlers}
        self._schedulers = {spec.name for spec in header.slurm_schedulers if spec.name is not None}

    def resolve(self, index: int) -> NewJob:
        """The job with this index, not to be used if there is a problem."""
        spec = self._jobs.specs[index]
        command, script, implied = spec.command, spec.invocation_script, _NOTHING
        if not self._is_literal and ("${" in command or (script is not None and "${" in script)):
            implied = {}
            command = self._substitute(index, "command", command, implied)
            script = script and self._substitute(index, "invocation_script", script, implied)
        jobs, files, data = self._job_names, self._file_names, self._user_data_names
        get = implied.get
        depends_on, upstream_names = self._link(
            index, jobs, "depends_on", spec.depends_on, spec.depends_on_regexes, None
        )
        input_files, input_names = self._link(
            index, files, "input_files", spec.input_files, spec.input_file_regexes, get("files.input")
        )
        output_files, output_names = self._link(
            index, files, "output_files", spec.output_files, spec.output_file_regexes, get("files.output")
        )
        input_user_data, read_names = self._link(
            index,
            data,
            "input_user_data",
            spec.input_user_data,
            spec.input_user_data_regexes,
            get("user_data.input"),
        )
        output_user_data, written_names = self._link(
            index,
            data,
            "output_user_data",
            spec.output_user_data,
            spec.output_user_data_regexes,
            get("user_data.output"),
        )
        env = {**self._env, **spec.env} if self._env and spec.env else spec.env or self._env
        definition = Definition(
            command=command,
            invocation_script=script,
            env=env,
            input_files=input_names,
            output_files=output_names,
            input_user_data=read_names,
            output_user_data=written_names,
            depends_on=upstream_names,
        )
        return NewJob(
            name=spec.name,
            command=command,
            invocation_script=script,
            env=env,
            depends_on=depends_on,
            input_files=input_files,
            output_files=output_files,
            input_user_data=input_user_data,
            output_user_data=output_user_data,
            requirement=self._check(index, spec),
            scheduler=spec.scheduler,
            failure_handler=spec.failure_handler,
            priority=spec.priority,
            cancel_on_blocking_job_failure=spec.cancel_on_blocking_job_failure,
            supports_termination=spec.supports_termination,
            definition_digest=definition_digest(definition),
        )

    def find_reference(self, index: int, field: str, name: str) -> str:
        """Where in the specification as written a job's list `field` gets `name` from."""
        spec = self._jobs.specs[index]
        if name in getattr(spec, field):
            return self._find_place(index, field, name)
        regex_field = REGEX_FIELDS[field]
        for pattern in getattr(spec, regex_field):
            if compile_whole(pattern)(name):
                return self._find_place(index, regex_field, pattern)
        is_in_command = any(match[2] == name for match in _VARIABLE.finditer(spec.command))
        return f"jobs[{self._jobs.origins[index]}].{'command' if is_in_command else 'invocation_script'}"

    def _find_place(self, index: int, field: str, entry: str) -> str:
        """Where in the specification as written an entry of a job's list stands."""
        union = self._jobs.unions.get(index, {}).get(field)
        position = union[entry] if union is not None else getattr(self._jobs.specs[index], field).index(entry)
        return f"jobs[{self._jobs.origins[index]}].{field}[{position}]"

    def _add(self, index: int, field: str, value: object, message: str, near: Collection[str] = ()) -> None:
        self._problems.add(f"jobs[{self._jobs.origins[index]}].{field}", value, message, near)

    def _check(self, index: int, spec: JobSpec) -> int:
        """Checks what refers to nothing or to the header; returns the index of the requirement."""
        if not spec.command or spec.command.isspace() or "\0" in spec.command:
            self._add(index, "command", spec.command, "a command must not be empty and must not hold NUL")
        if spec.env:
            check_env(spec.env, f"jobs[{self._jobs.origins[index]}].env", self._problems)
        if not -PRIORITY_LIMIT <= spec.priority < PRIORITY_LIMIT:
            self._add(index, "priority", spec.priority, f"{spec.priority} does not fit 32 bits")
        if spec.failure_handler is not None and spec.failure_handler not in self._handlers:
            message = f"there is no failure handler {spec.failure_handler!r}"
            self._add(index, "failure_handler", spec.failure_handler, message, near=self._handlers)
        if spec.scheduler is not None and spec.scheduler not in self._schedulers:
            message = f"there is no Slurm scheduler {spec.scheduler!r}"
            self._add(index, "scheduler", spec.scheduler, message, near=self._schedulers)
        name = spec.resource_requirements
        if name is None:
            return self._default_requirement
        requirement = self._requirements.get(name, -1)
        if requirement < 0:
            message = f"there are no resource requirements {name!r}"
            self._add(index, "resource_requirements", name, message, near=self._requirements)
        return requirement

    def _link(
        self,
        index: int,
        names: Names,
        field: str,
        listed: list[str],
        regexes: list[str],
        implied: list[int] | None,
    ) -> Links:
        """What a list of names, its regular expressions and variables stand for together."""
        if not listed and not regexes and not implied:
            return _NO_LINKS
        try:
            found = [names.index[name] for name in listed]
        except KeyError:
            for name in listed:
                if name not in names.index:
                    where = partial(self._find_place, index, field, name)
                    self._problems.add(where, name, names.explain_unknown(name), near=names.index)
            return _NO_LINKS
        if not regexes and not implied:
            return found if len(found) == 1 else sorted(set(found)), listed
        for pattern in regexes:
            try:
                found += names.match(pattern)
            except Refused as error:
                where = partial(self._find_place, index, REGEX_FIELDS[field], pattern)
                self._problems.add(where, pattern, error.message)
        indexes = sorted({*found, *(implied or ())})
        return indexes, [names.names[place] for place in indexes]

    def _substitute(self, index: int, field: str, text: str, implied: Implied) -> str:
        """The text with its variables replaced: a file's by its path as written, user data by its name, as data.

        A relative path stays relative: jobs run in the submission directory, and the command (and with it the
        definition) stays the same wherever that is; `./` keeps one that begins with a dash from being an option. The
        name of user data is what a job passes to `torcctl user-data get` or `update`: the value may not exist yet.
        """

        def value_of(match: re.Match[str]) -> str:
            kind, name = match.groups()
            names = self._file_names if kind.startswith("files") else self._user_data_names
            place = names.index.get(name)
            if place is None:
                self._add(index, field, name, names.explain_unknown(name), near=names.index)
                return "unknown"
            implied.setdefault(kind, []).append(place)
            if names is self._user_data_names:
                return name
            path = self._files[place].path
            return f"./{path}" if path[:1] == "-" else path

        try:
            return substitute(text, _VARIABLE, value_of)
        except Refused as error:
            self._add(index, field, text, error.message)
            return text
