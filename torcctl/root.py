"""The nouns: where each one's commands are, and the help of torcctl itself. Imports nothing heavy."""

from typing import NamedTuple


class Noun(NamedTuple):
    """A module of `torcctl.commands`, whose VERBS are its commands, and what it is about."""

    module: str
    summary: str


NOUNS = {
    "run": Noun("torcctl.commands.run", "Create a workflow from a specification, or take one, and run it here."),
    "workflows": Noun("torcctl.commands.workflows", "Create, inspect, initialize, reinit, restart, run, delete."),
    "jobs": Noun("torcctl.commands.jobs", "Jobs: list, inspect, edit, reset, read their logs."),
    "files": Noun("torcctl.commands.files", "Files of a workflow and what is recorded about them."),
    "user-data": Noun("torcctl.commands.user_data", "JSON values that jobs read and write."),
    "results": Noun("torcctl.commands.results", "What the attempts of jobs left behind."),
    "tasks": Noun("torcctl.commands.tasks", "Operations under way or ended: list, wait, cancel."),
    "events": Noun("torcctl.commands.events", "The log of a workflow: list, watch."),
    "worker": Noun("torcctl.commands.worker", "Run a workflow's jobs here, with what a Slurm job was given."),
    "workers": Noun("torcctl.commands.workers", "Processes that run jobs."),
    "actions": Noun("torcctl.commands.actions", "What a workflow has done at its start, its end, and between."),
    "reports": Noun("torcctl.commands.reports", "Resources: what jobs asked for, and what they used."),
    "slurm": Noun("torcctl.commands.slurm", "Have a Slurm cluster run a workflow: schedule-nodes (also: hpc slurm)."),
    "allocations": Noun("torcctl.commands.allocations", "Slurm jobs that run workers of a workflow."),
    "recover": Noun(
        "torcctl.commands.recover", "Find out why jobs failed, raise what they ran out of, run them again."
    ),
    "watch": Noun("torcctl.commands.watch", "Follow a workflow to its end; --recover recovers what failed."),
    "daemon": Noun("torcctl.commands.daemon", "The daemon: start, stop, status, logs, backup, install and more."),
    "doctor": Noun("torcctl.commands.doctor", "Check the daemon and what it depends on here; starts nothing."),
    "schema": Noun("torcctl.commands.schema", "Print the JSON Schema of every method and event."),
    "completions": Noun("torcctl.commands.completions", "Print the completion script of a shell."),
}

GROUPS = {"hpc": "slurm"}
"""Words that may stand before a noun and change nothing: `hpc slurm schedule-nodes`."""

GLOBAL_OPTIONS = (
    ("-f, -F, --format table|json", "How results are printed (TORC_FORMAT)."),
    ("-k, --workflow-key, --workflow-id ID", "The workflow that is meant (TORC_WORKFLOW_ID)."),
    ("--url URL", "Address of the daemon (TORC_URL, TORC_TOKEN, TORC_FINGERPRINT); it is then never started."),
    ("-n, --no-prompts", "Never ask anything."),
    ("--no-autostart", "Do not start a daemon (TORC_NO_AUTOSTART=1)."),
    ("--log-level LEVEL", "error, warning, info or debug: what is told on stderr."),
    ("--version", "Print the version."),
    ("-h, --help", "Print this, or the help of a command."),
)

EXIT_CODES = (
    "Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 conflict, 5 daemon unreachable,\n"
    "6 wait timed out (the task goes on), 7 refused, 10 --dry-run --exit-code: there are changes."
)


def root_help() -> str:
    """The text of `torcctl --help`."""
    commands = [(name, noun.summary) for name, noun in NOUNS.items()]
    return "\n".join(
        (
            "Usage: torcctl [OPTIONS] COMMAND [ARGUMENTS]",
            "",
            "Runs workflows of shell jobs, and reruns only what a change affects.",
            "",
            "Commands (torcctl COMMAND --help tells more):",
            *_aligned(commands),
            "",
            "Options, before the command; the long ones may also stand after it:",
            *_aligned(GLOBAL_OPTIONS),
            "",
            EXIT_CODES,
        )
    )


def _aligned(pairs: tuple[tuple[str, str], ...] | list[tuple[str, str]]) -> list[str]:
    width = max(len(left) for left, _ in pairs)
    return [f"  {left.ljust(width)}  {right}" for left, right in pairs]
