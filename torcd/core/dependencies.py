"""Checks the dependencies of new jobs, explicit and implied: one producer for each file and user data, and no
cycle (SEMANTICS 3.5)."""

from functools import partial
from itertools import islice, pairwise

from torcd.core.cycles import find_cycle
from torcd.core.expansion import NewJob
from torcd.core.problems import Problems
from torcd.core.references import Names
from torcd.core.resolve import Resolver

MAX_SHOWN = 20
"""Most jobs of a cycle that are shown."""

_NONE = -1


class Dependencies:
    """The graph of new jobs while it is checked; what is wrong goes to `problems`."""

    def __init__(
        self, jobs: list[NewJob], names: tuple[Names, Names, Names], resolver: Resolver, problems: Problems
    ) -> None:
        """`names` are those of the jobs, the files and the user data."""
        self._jobs = jobs
        self._job_names, self._file_names, self._data_names = names
        self._resolver = resolver
        self._problems = problems
        self._file_producers = [_NONE] * len(self._file_names.names)
        self._data_producers = [_NONE] * len(self._data_names.names)

    def check(self) -> None:
        """Notes files and user data with two producers or, if there are none, one cycle."""
        if self._find_producers():
            cycle = find_cycle([self._upstream(job) for job in self._jobs])
            if cycle is not None:
                self._add_cycle(cycle)

    def _find_producers(self) -> bool:
        """Fills in the producers; whether each file and user data has at most one."""
        is_sound = True
        of_file, of_data = self._file_producers, self._data_producers
        for index, job in enumerate(self._jobs):
            for file in job.output_files:
                if of_file[file] != _NONE:
                    is_sound = False
                    name = self._file_names.names[file]
                    self._add_two_producers(index, of_file[file], "output_files", f"file {name!r}", name)
                of_file[file] = index
            for data in job.output_user_data:
                if of_data[data] != _NONE:
                    is_sound = False
                    name = self._data_names.names[data]
                    self._add_two_producers(index, of_data[data], "output_user_data", f"user data {name!r}", name)
                of_data[data] = index
        return is_sound

    def _add_two_producers(self, second: int, first: int, field: str, what: str, name: str) -> None:
        jobs = self._job_names.names
        message = f"the {what} is already an output of job {jobs[first]!r}, so job {jobs[second]!r} cannot write it"
        self._problems.add(partial(self._resolver.find_reference, second, field, name), name, message)

    def _upstream(self, job: NewJob) -> list[int]:
        upstream = list(job.depends_on)
        if job.input_files:
            of_file = self._file_producers
            upstream += [of_file[file] for file in job.input_files if of_file[file] != _NONE]
        if job.input_user_data:
            of_data = self._data_producers
            upstream += [of_data[data] for data in job.input_user_data if of_data[data] != _NONE]
        return upstream

    def _add_cycle(self, cycle: list[int]) -> None:
        names = self._job_names.names
        steps = [names[cycle[0]]]
        closed = [*cycle, cycle[0]]
        for before, after in islice(pairwise(closed), MAX_SHOWN):
            field, name = self._find_edge(before, after)
            kind = {"input_files": "file", "input_user_data": "user data"}.get(field)
            steps.append(names[after] + (f" (via {kind} {name!r})" if kind else ""))
        if len(cycle) > MAX_SHOWN:
            steps.append(f"… ({len(cycle)} jobs in all)")
        field, name = self._find_edge(cycle[-1], cycle[0])
        self._problems.add(
            self._resolver.find_reference(cycle[0], field, name),
            name,
            "each of these jobs waits for the one before it, which is a cycle: " + " -> ".join(steps),
        )

    def _find_edge(self, before: int, after: int) -> tuple[str, str]:
        """Why the job `after` waits for the job `before`: the field and the name in it."""
        job = self._jobs[after]
        if before in job.depends_on:
            return "depends_on", self._job_names.names[before]
        for file in job.input_files:
            if self._file_producers[file] == before:
                return "input_files", self._file_names.names[file]
        data = next(data for data in job.input_user_data if self._data_producers[data] == before)
        return "input_user_data", self._data_names.names[data]
