"""All checks, in the order in which they are told."""

from torcctl.doctor.daemon_checks import (
    check_connection_file,
    check_daemon,
    check_environment,
    check_service,
    check_sessions,
)
from torcctl.doctor.facts import Facts
from torcctl.doctor.machine_checks import (
    check_clock,
    check_file_system,
    check_limits,
    check_private,
    check_slurm,
    check_socket_path,
    check_space,
    check_versions,
)
from torcctl.doctor.verdicts import Check

ALL = (
    check_daemon,
    check_environment,
    check_service,
    check_sessions,
    check_file_system,
    check_space,
    check_private,
    check_socket_path,
    check_connection_file,
    check_limits,
    check_clock,
    check_versions,
    check_slurm,
)


def judge(facts: Facts) -> list[Check]:
    """What the facts mean."""
    return [check for look in ALL for check in look(facts)]
