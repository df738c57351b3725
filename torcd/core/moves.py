"""Moves of jobs as an event tells them: a thousand claims of one job each are one change of a thousand jobs."""

from collections.abc import Sequence

import numpy as np

from torcd.core.delta import Move

MASS = 1000
"""A move of so many jobs stands as it is: nothing would be gained by looking at them one by one."""


def merge_moves(moves: Sequence[Move]) -> list[Move]:
    """The same moves with those to the same status as one, wherever each job's own moves keep their order."""
    if len(moves) < 2:
        return list(moves)
    merged: list[list[Move]] = []
    place_of: dict[tuple[int, int], int] = {}
    last: dict[int, int] = {}  # of each job, the place of its last move
    for move in moves:
        if len(move.jobs) >= MASS:
            merged.append([move])
            place_of.clear()
            continue
        jobs = move.jobs.tolist()
        kind = int(move.status), int(move.reason)
        place = place_of.get(kind)
        if place is None or any(last.get(job, -1) > place for job in jobs):
            place = place_of[kind] = len(merged)
            merged.append([])
        merged[place].append(move)
        last.update(dict.fromkeys(jobs, place))
    return [_one(moves) for moves in merged]


def _one(moves: list[Move]) -> Move:
    first = moves[0]
    if len(moves) == 1:
        return first
    return Move(jobs=np.concatenate([move.jobs for move in moves]), status=first.status, reason=first.reason)
