"""How it feels: the time from pressing Enter to the prompt, and the first command when no daemon runs."""

import json

from benchmarks.service import Torc
from benchmarks.table import Row, median, print_table

REPEATS = 15
STARTS = 5


def main(size: int = 1000) -> None:
    """Prints the table; the workflow asked about has `size` jobs."""
    rows = []
    with Torc() as torc:
        spec = torc.directory / "workflow.json"
        jobs = [{"name": f"job_{place}", "command": "true"} for place in range(size)]
        spec.write_text(json.dumps({"name": "feeling", "jobs": jobs}))
        created = torc.ask("workflows", "create", spec)
        workflow_id = str(created["workflow_id"])
        for question, target, command in (
            ("torcctl --help", 60, ["--help"]),
            ("torcctl workflows status", 90, ["workflows", "status", workflow_id]),
            ("torcctl jobs list -f status=ready", None, ["jobs", "list", workflow_id, "-f", "status=ready"]),
        ):
            times = [torc.run(*command) * 1e3 for _ in range(REPEATS)]
            rows.append(Row(question, median(times), "ms", target=target))
        starts = []
        for _ in range(STARTS):
            torc.stop()
            starts.append(torc.run("workflows", "status", workflow_id) * 1e3)
        rows.append(Row("the same when no daemon runs", median(starts), "ms", target=600))
    print_table("Feeling", rows)


if __name__ == "__main__":
    main()
