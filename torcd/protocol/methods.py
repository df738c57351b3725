"""Every method that the daemon understands."""

from torcd.protocol import (
    actions,
    backups,
    edits,
    health,
    lookups,
    proposals,
    recover,
    remote_requests,
    resource_report,
    slurm,
    sync,
    transfer_requests,
    update,
    worker_requests,
)
from torcd.protocol.requests import Request

__all__ = [
    "METHODS",
    "actions",
    "backups",
    "edits",
    "health",
    "lookups",
    "proposals",
    "recover",
    "remote_requests",
    "resource_report",
    "slurm",
    "sync",
    "transfer_requests",
    "update",
    "worker_requests",
]  # imported above so that their requests are known


def _requests(kind: type[Request]) -> list[type[Request]]:
    found = [kind] if "METHOD" in kind.__dict__ else []
    for child in kind.__subclasses__():
        found += _requests(child)
    return found


METHODS: dict[str, type[Request]] = {kind.METHOD: kind for kind in _requests(Request)}
"""The struct of every method."""
