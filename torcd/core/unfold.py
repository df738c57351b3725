"""Turns specifications that hold parameters into plain ones, one for each combination (SEMANTICS 3.2).

Fan-in: combinations that give the same job name are the same job, and its lists are the union over them. So
a job called `report`, with parameter i and `depends_on: ["work_{i}"]`, is one job that waits for every
`work_…`; `report_{a}` with parameters a and b is one job for each a, over all b. What is not a list (command,
env, …) must then be the same in all those combinations.
"""

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from msgspec.structs import replace

from torcd.core.parameters import (
    MAX_COMBINATIONS,
    Allowance,
    Combinations,
    TooMuchText,
    Value,
    parse_parameter,
)
from torcd.core.problems import Problems
from torcd.protocol.errors import Refused
from torcd.protocol.specification import FileSpec, JobSpec, Parameterized, ParameterValue, UserDataSpec

SpecT = TypeVar("SpecT", JobSpec, FileSpec, UserDataSpec)

MAX_DATA_DEPTH = 100
"""Deepest nesting of user data that may hold parameters."""

TEXT_FIELDS = ("command", "invocation_script", "resource_requirements", "scheduler")
REGEX_FIELDS = {
    "depends_on": "depends_on_regexes",
    "input_files": "input_file_regexes",
    "output_files": "output_file_regexes",
    "input_user_data": "input_user_data_regexes",
    "output_user_data": "output_user_data_regexes",
}
"""The lists of names of a job, each with its list of regular expressions."""


class Unfolded(Generic[SpecT]):
    """Plain specifications, and where each comes from."""

    def __init__(self) -> None:
        self.specs: list[SpecT] = []
        self.origins: list[int] = []
        """The index of each in the specification as written."""
        self.unions: dict[int, dict[str, dict[str, int]]] = {}
        """For jobs that unite several combinations: field → entry → its index in the list as written."""

    def add(self, spec: SpecT, origin: int) -> None:
        self.specs.append(spec)
        self.origins.append(origin)


class Unfolder:
    """Unfolds the lists of one specification; what is wrong goes to `problems`."""

    def __init__(self, shared: dict[str, ParameterValue], problems: Problems) -> None:
        self._problems = problems
        self._remaining = MAX_COMBINATIONS
        self._allowance = Allowance()
        self._shared: dict[str, Sequence[Value]] = {}
        for name, value in shared.items():
            self._parse(f"parameters.{name}", name, value, self._shared)

    def unfold_files(self, specs: Sequence[FileSpec]) -> Unfolded[FileSpec]:
        """Plain files, in the order of the specification and of the combinations."""
        unfolded: Unfolded[FileSpec] = Unfolded()
        for origin, spec in enumerate(specs):
            if not spec.parameters and not spec.use_parameters:
                unfolded.add(spec, origin)
                continue
            where = f"files[{origin}]"
            combinations = self._combine(spec, where)
            if combinations is None:
                continue
            names = self._render(combinations, f"{where}.name", spec.name)
            paths = self._render(combinations, f"{where}.path", spec.path)
            for name, path in zip(names, paths, strict=True):
                unfolded.add(FileSpec(name=name, path=path, on_missing=spec.on_missing), origin)
        return unfolded

    def unfold_user_data(self, specs: Sequence[UserDataSpec]) -> Unfolded[UserDataSpec]:
        """Plain user data; parameters are also replaced in the texts within `data`."""
        unfolded: Unfolded[UserDataSpec] = Unfolded()
        for origin, spec in enumerate(specs):
            if not spec.parameters and not spec.use_parameters:
                unfolded.add(spec, origin)
                continue
            where = f"user_data[{origin}]"
            combinations = self._combine(spec, where)
            if combinations is None:
                continue
            names = self._render(combinations, f"{where}.name", spec.name)
            try:
                values = _render_data(combinations, spec.data, MAX_DATA_DEPTH)
            except Refused as error:
                self._problems.add(f"{where}.data", None, error.message)
                is_over = isinstance(error, TooMuchText)
            else:
                for name, data in zip(names, values or [spec.data] * combinations.count, strict=True):
                    unfolded.add(UserDataSpec(name=name, data=data, is_ephemeral=spec.is_ephemeral), origin)
                continue
            if is_over:
                self._problems.raise_any()
        return unfolded

    def unfold_jobs(self, specs: Sequence[JobSpec]) -> Unfolded[JobSpec]:
        """Plain jobs; combinations that give the same name are united."""
        unfolded: Unfolded[JobSpec] = Unfolded()
        for origin, spec in enumerate(specs):
            if not spec.parameters and not spec.use_parameters:
                unfolded.add(spec, origin)
                continue
            where = f"jobs[{origin}]"
            combinations = self._combine(spec, where)
            if combinations is None:
                continue
            names = self._render(combinations, f"{where}.name", spec.name)
            texts = self._render_texts(combinations, where, spec)
            lists = self._render_lists(combinations, where, spec)
            if len(set(names)) == len(names):
                _add_each(unfolded, origin, spec, names, texts, lists)
            else:
                self._unite(unfolded, origin, spec, names, texts, lists)
        return unfolded

    # ---- parameters ----

    def _parse(self, where: str, name: str, value: ParameterValue, into: dict[str, Sequence[Value]]) -> bool:
        try:
            into[name] = parse_parameter(name, value)
        except Refused as error:
            self._problems.add(where, value, error.message)
            return False
        return True

    def _combine(self, spec: Parameterized, where: str) -> Combinations | None:
        """The combinations of an object: the shared parameters it uses, then its own, which win."""
        values: dict[str, Sequence[Value]] = {}
        is_sound = True
        for index, name in enumerate(spec.use_parameters):
            if name in self._shared:
                values[name] = self._shared[name]
            elif name not in spec.parameters:
                message = f"the workflow has no parameter {name!r}"
                self._problems.add(f"{where}.use_parameters[{index}]", name, message, near=self._shared)
                is_sound = False
        for name, value in spec.parameters.items():
            is_sound &= self._parse(f"{where}.parameters.{name}", name, value, values)
        if not is_sound:
            return None
        try:
            combinations = Combinations(values, spec.parameter_mode, self._allowance)
        except Refused as error:
            self._problems.add(f"{where}.parameters", None, error.message)
            return None
        if combinations.count > self._remaining:
            self._problems.add(
                f"{where}.parameters",
                combinations.count,
                f"{combinations.count} combinations are too many; the parameters of a whole specification"
                f" may give {MAX_COMBINATIONS}",
            )
            return None
        self._remaining -= combinations.count
        return combinations

    def _try_render(self, combinations: Combinations, where: str, text: str, escape: bool = False) -> list[str] | None:
        try:
            return combinations.render(text, escape)
        except Refused as error:
            self._problems.add(where, text, error.message)
            is_over = isinstance(error, TooMuchText)
        if is_over:  # out here, or what is raised would keep the texts alive with the frames of the first error
            self._problems.raise_any()
        return None

    def _allow(self, combinations: Combinations, where: str, values: int) -> None:
        try:
            combinations.allow(values)
            return
        except TooMuchText as error:
            self._problems.add(where, None, error.message)
        self._problems.raise_any()

    def _render(self, combinations: Combinations, where: str, text: str) -> list[str]:
        return self._try_render(combinations, where, text) or [text] * combinations.count

    # ---- jobs ----

    def _render_texts(self, combinations: Combinations, where: str, spec: JobSpec) -> dict[str, list[Any]]:
        """The fields that differ between combinations, each with its value in every combination."""
        columns: dict[str, list[Any]] = {}
        for field in TEXT_FIELDS:
            text = getattr(spec, field)
            if text is not None:
                column = self._try_render(combinations, f"{where}.{field}", text)
                if column is not None:
                    columns[field] = column
        variables = {
            name: self._try_render(combinations, f"{where}.env.{name}", value) for name, value in spec.env.items()
        }
        if any(column is not None for column in variables.values()):
            self._allow(combinations, f"{where}.env", len(variables))
            full = [column or [spec.env[name]] * combinations.count for name, column in variables.items()]
            columns["env"] = [dict(zip(variables, row, strict=True)) for row in zip(*full, strict=True)]
        return columns

    def _render_lists(self, combinations: Combinations, where: str, spec: JobSpec) -> dict[str, list[list[str] | None]]:
        """The lists that differ between combinations: for each entry its column, None if it is constant."""
        columns: dict[str, list[list[str] | None]] = {}
        for field in (*REGEX_FIELDS, *REGEX_FIELDS.values()):
            is_regex = field not in REGEX_FIELDS
            rendered = [
                self._try_render(combinations, f"{where}.{field}[{index}]", entry, is_regex)
                for index, entry in enumerate(getattr(spec, field))
            ]
            if any(column is not None for column in rendered):
                self._allow(combinations, f"{where}.{field}", len(rendered))
                columns[field] = rendered
        return columns

    def _unite(
        self,
        unfolded: Unfolded[JobSpec],
        origin: int,
        spec: JobSpec,
        names: list[str],
        texts: dict[str, list[Any]],
        lists: dict[str, list[list[str] | None]],
    ) -> None:
        groups: dict[str, list[int]] = {}
        for index, name in enumerate(names):
            groups.setdefault(name, []).append(index)
        for name, members in groups.items():
            message = _why_not_one(name, members, texts, lists)
            if message:
                self._problems.add(f"jobs[{origin}].name", name, message)
                return
        for name, members in groups.items():
            unions: dict[str, dict[str, int]] = {}
            for field, columns in lists.items():
                union = unions[field] = {}
                for position, column in enumerate(columns):
                    if column is None:
                        union.setdefault(getattr(spec, field)[position], position)
                    else:
                        for member in members:
                            union.setdefault(column[member], position)
            changes: dict[str, Any] = {field: column[members[0]] for field, column in texts.items()}
            changes |= {field: list(union) for field, union in unions.items()}
            unfolded.unions[len(unfolded.specs)] = unions
            unfolded.add(replace(spec, name=name, **changes), origin)


def _why_not_one(
    name: str, members: list[int], texts: dict[str, list[Any]], lists: dict[str, list[list[str] | None]]
) -> str | None:
    """Why the combinations that give one name cannot be one job, or None."""
    if len(members) == 1:
        return None
    first = members[0]
    for field, column in texts.items():
        if any(column[member] != column[first] for member in members):
            return (
                f"{len(members)} combinations give the name {name!r} but differ in their {field}; put the"
                " parameters that the job uses into its name"
            )
    varying = (column for columns in lists.values() for column in columns if column is not None)
    if all(column[member] == column[first] for column in varying for member in members):
        return (
            f"{len(members)} combinations give the name {name!r} and the same job; put the parameters into"
            " the name (one job each) or into an entry of a list such as depends_on (one job for all)"
        )
    return None


def _add_each(
    unfolded: Unfolded[JobSpec],
    origin: int,
    spec: JobSpec,
    names: list[str],
    texts: dict[str, list[Any]],
    lists: dict[str, list[list[str] | None]],
) -> None:
    columns: dict[str, list[Any]] = {"name": names, **texts}
    for field, entries in lists.items():
        constant = getattr(spec, field)
        full = [column or [constant[index]] * len(names) for index, column in enumerate(entries)]
        columns[field] = [list(row) for row in zip(*full, strict=True)]
    fields = list(columns)
    for row in zip(*columns.values(), strict=True):
        unfolded.add(replace(spec, **dict(zip(fields, row, strict=True))), origin)


def _render_data(combinations: Combinations, data: Any, depth: int) -> list[Any] | None:
    """The value in each combination, or None when it holds no parameter."""
    if depth == 0:
        raise Refused(f"data that holds parameters is nested more than {MAX_DATA_DEPTH} deep")
    if isinstance(data, str):
        return combinations.render(data)
    if isinstance(data, list):
        return _render_rows(combinations, data, depth)
    if isinstance(data, dict):
        keys, values = list(data), list(data.values())
        key_rows = _render_rows(combinations, keys, depth)
        value_rows = _render_rows(combinations, values, depth)
        if key_rows is None and value_rows is None:
            return None
        combinations.allow(len(keys))
        key_rows = key_rows or [keys] * combinations.count
        value_rows = value_rows or [values] * combinations.count
        return [dict(zip(*pair, strict=True)) for pair in zip(key_rows, value_rows, strict=True)]
    return None


def _render_rows(combinations: Combinations, items: list[Any], depth: int) -> list[list[Any]] | None:
    columns = [_render_data(combinations, item, depth - 1) for item in items]
    if all(column is None for column in columns):
        return None
    combinations.allow(len(items))
    full = [column or [item] * combinations.count for column, item in zip(columns, items, strict=True)]
    return [list(row) for row in zip(*full, strict=True)]
