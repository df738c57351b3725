"""Finds a cycle in a dependency graph, in linear time and without recursion (a chain may be 100,000 long)."""

from collections.abc import Iterator, Sequence

_NEW, _ON_PATH, _DONE = 0, 1, 2


def find_cycle(upstream: Sequence[Sequence[int]]) -> list[int] | None:
    """The jobs of one cycle, or None. `upstream[j]` are the jobs that job j waits for.

    In the result each job waits for the one before it and the first for the last; it starts with the
    smallest number.
    """
    state = bytearray(len(upstream))
    for root in range(len(upstream)):
        if state[root] != _NEW:
            continue
        state[root] = _ON_PATH
        path = [root]
        pending: list[Iterator[int]] = [iter(upstream[root])]
        while path:
            for job in pending[-1]:
                if state[job] == _NEW:
                    state[job] = _ON_PATH
                    path.append(job)
                    pending.append(iter(upstream[job]))
                    break
                if state[job] == _ON_PATH:
                    cycle = path[path.index(job) :][::-1]
                    start = cycle.index(min(cycle))
                    return cycle[start:] + cycle[:start]
            else:
                state[path.pop()] = _DONE
                pending.pop()
    return None
