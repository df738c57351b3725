"""The processes of jobs on this host, known by what their workers put into their environment."""

import os

Attempt = tuple[int, int, int]
"""Workflow, job and attempt."""

NAMES = (b"TORC_WORKFLOW_ID", b"TORC_JOB_ID", b"TORC_ATTEMPT_ID")


def find_job_processes() -> dict[Attempt, list[int]]:
    """The pids of each attempt, as far as they can be seen. Those of another database's workflows are among them."""
    found: dict[Attempt, list[int]] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                variables = dict(entry.partition(b"=")[::2] for entry in file.read().split(b"\0"))
        except OSError:
            continue  # it ended meanwhile, or is another user's
        numbers = [variables.get(each, b"") for each in NAMES]
        if all(number.isdigit() for number in numbers):
            workflow_id, job_id, attempt_id = map(int, numbers)
            found.setdefault((workflow_id, job_id, attempt_id), []).append(int(name))
    return found
