"""torcd as a service, beside a real `systemd --user` (docs/service.md)."""

import json
import os
import select
from pathlib import Path

from service_rig import PATIENCE_S, User

from torcctl.service.units import PACKAGED

WAITING: dict[str, object] = {
    "name": "waiting",
    "jobs": [
        {"name": "waits", "command": "echo started >../started; read line <../go"},
        {"name": "other", "command": "true"},
    ],
}


class Run:
    """A workflow that is run in the background; its job waits until it is told to go on."""

    def __init__(self, user: User) -> None:
        self._ends = {}
        for name in ("started", "go", "ended"):
            path = user.directory / name
            path.unlink(missing_ok=True)
            os.mkfifo(path)
            self._ends[name] = os.open(path, os.O_RDWR)  # both ways, so that nobody waits for a reader or a writer
        (user.work / "spec.json").write_text(json.dumps(WAITING))
        user.spawn("torcctl run spec.json >run.out 2>&1; echo $? >../ended")
        self.wait_for("started")

    def wait_for(self, name: str) -> str:
        ready, _, _ = select.select([self._ends[name]], [], [], PATIENCE_S)
        assert ready, name
        return os.read(self._ends[name], 100).decode().strip()

    def finish(self) -> str:
        """Lets the job end; the exit code of the run."""
        os.write(self._ends["go"], b"go\n")
        code = self.wait_for("ended")
        for end in self._ends.values():
            os.close(end)
        return code


def test_install_starts_the_service_and_again_changes_nothing(user: User) -> None:
    done = user.torcctl("-f", "json", "daemon", "install", "--now").json
    assert [(unit["unit"], unit["what"]) for unit in done["units"]] == [
        ("torcd.service", "written"),
        ("torcd.socket", "written"),
    ]
    assert (done["running"], done["pid"]) == (True, user.pid())
    assert user.systemctl("is-enabled", "torcd.service", "torcd.socket").out.split() == ["enabled", "enabled"]
    status = user.torcctl("-f", "json", "daemon", "status").json
    assert (status["pid"], status["database"]) == (done["pid"], str(user.database))
    assert user.show("torcd.service", "Type") == "notify"
    again = user.torcctl("-f", "json", "daemon", "install", "--now").json
    assert {unit["what"] for unit in again["units"]} == {"unchanged"}
    assert again["pid"] == done["pid"]
    assert user.torcctl("doctor", check=False).code == 0


def test_what_is_installed_is_what_is_packaged_but_for_the_lines_that_name_the_installation(user: User) -> None:
    """The files in systemd/ are the same."""
    user.torcctl("daemon", "install")
    for name in ("torcd.service", "torcd.socket"):
        packaged = (PACKAGED / name).read_text().splitlines()
        assert (Path(__file__).parents[2] / "systemd" / name).read_text().splitlines() == packaged
        installed = (user.units / name).read_text().splitlines()[1:]
        own = [line for line in installed if line not in packaged]
        assert all(line.startswith(("ExecStart=", 'Environment="')) for line in own)
        assert [line for line in packaged if line not in installed] == ["ExecStart=%h/.local/bin/torcd"] * (
            len(own) > 0
        )
    verified = user.run("systemd-analyze", "--user", "verify", user.units / "torcd.service")
    assert verified.out + verified.err == ""


def test_the_first_command_starts_it_by_its_socket_and_asking_for_its_status_does_not(user: User) -> None:
    """INTERFACE 2: daemon status never starts one"""
    user.torcctl("daemon", "install")
    user.systemctl("start", "torcd.socket")
    status = user.torcctl("-f", "json", "daemon", "status", check=False)
    assert (status.code, status.json["running"]) == (5, False)
    assert "the next command starts it" in status.err
    assert user.pid() == 0
    assert user.torcctl("--no-autostart", "-f", "json", "workflows", "list").json == {"workflows": []}
    assert user.pid() != 0
    assert user.systemctl("is-active", "torcd.service").out == "active\n"


def test_a_command_starts_the_service_that_is_installed_and_stop_is_not_undone_by_the_socket(user: User) -> None:
    """INTERFACE 1 (autostart)"""
    user.torcctl("daemon", "install")
    user.torcctl("workflows", "list")
    assert user.torcctl("-f", "json", "daemon", "status").json["pid"] == user.pid()
    stopped = user.torcctl("daemon", "stop")
    assert stopped.out == "running: false\n"
    assert user.pid() == 0
    assert user.systemctl("is-active", "torcd.service", "torcd.socket", check=False).out.split() == ["inactive"] * 2
    assert user.torcctl("--no-autostart", "workflows", "list", check=False).code == 5
    user.torcctl("daemon", "start")
    assert user.systemctl("is-active", "torcd.service", "torcd.socket").out.split() == ["active"] * 2


def test_a_daemon_for_another_database_is_not_taken_for_the_service(user: User) -> None:
    user.torcctl("daemon", "install", "--now")
    places = [f"TORCD_DATABASE={user.directory}/other/torc.db", f"TORCD_SOCKET={user.directory}/other/torcd.sock"]
    other = user.run("env", *places, "torcctl", "-f", "json", "daemon", "start").json
    assert other["pid"] != user.pid()
    user.run("env", *places, "torcctl", "daemon", "stop")
    assert user.pid() != 0


def test_a_daemon_that_runs_already_becomes_the_service_and_its_run_goes_on(user: User) -> None:
    run = Run(user)
    before = user.torcctl("-f", "json", "daemon", "status").json["pid"]
    done = user.torcctl("-f", "json", "daemon", "install", "--now")
    assert f"process {before}" in done.err
    assert done.json["pid"] not in (None, before)
    assert run.finish() == "0"


def test_a_killed_daemon_is_started_again_and_its_workers_come_back(user: User) -> None:
    """SEMANTICS 8.4"""
    user.torcctl("daemon", "install", "--now")
    run = Run(user)
    before = user.pid()
    user.run("kill", "-KILL", before)
    user.wait_until(lambda: user.pid() not in (0, before))
    assert run.finish() == "0"
    assert user.show("torcd.service", "NRestarts") == "1"
    results = user.torcctl("-f", "json", "results", "list", "--all-runs").json["results"]
    assert sorted(result["job_name"] for result in results) == ["other", "waits"]


def test_a_daemon_that_says_nothing_is_restarted_by_the_watchdog(user: User) -> None:
    user.torcctl("daemon", "install")
    drop_in = user.units / "torcd.service.d" / "test.conf"
    drop_in.parent.mkdir()
    drop_in.write_text("[Service]\nWatchdogSec=2\nTimeoutAbortSec=1\n")
    user.systemctl("daemon-reload")
    user.torcctl("daemon", "start")
    before = user.pid()
    user.run("sleep", 3)  # longer than the interval: it is fed
    assert user.pid() == before
    user.run("kill", "-STOP", before)
    status = user.torcctl("-f", "json", "daemon", "status", check=False)
    if user.pid() == before:  # else it was restarted meanwhile
        assert status.code == 5
    user.wait_until(lambda: user.pid() not in (0, before))
    user.wait_until(lambda: user.torcctl("daemon", "status", check=False).code == 0)
    assert user.show("torcd.service", "NRestarts") == "1"


def test_a_stop_during_a_run_is_quick_and_the_run_goes_on_with_the_next_daemon(user: User) -> None:
    """SEMANTICS 8.4; KillMode: jobs are not in the daemon's unit"""
    user.torcctl("daemon", "install", "--now")
    run = Run(user)
    before = user.pid()
    user.torcctl("daemon", "stop")
    user.wait_until(lambda: user.pid() not in (0, before))  # started by the worker, once the stop was done
    assert user.show("torcd.service", "NRestarts") == "0"
    assert run.finish() == "0"


def test_uninstall_takes_the_service_away_and_leaves_the_data(user: User) -> None:
    user.torcctl("daemon", "install", "--now")
    user.torcctl("workflows", "list")
    gone = user.torcctl("-f", "json", "daemon", "uninstall").json
    assert sorted(unit["unit"] for unit in gone["units"]) == ["torcd.service", "torcd.socket"]
    assert not user.units.exists()
    assert user.systemctl("list-unit-files", "torcd.*", check=False).out.count("torcd") == 0
    assert not user.socket.exists()
    assert user.database.exists()
    assert user.torcctl("daemon", "uninstall").out == "nothing was installed\n"


def test_a_unit_of_the_users_own_is_not_touched(user: User) -> None:
    user.units.mkdir(parents=True, exist_ok=True)
    own = user.units / "torcd.service"
    own.write_text("[Service]\nExecStart=/bin/true\n")
    for verb in ("install", "uninstall"):
        refused = user.torcctl("daemon", verb, check=False)
        assert refused.code == 4
        assert str(own) in refused.err
    assert own.read_text() == "[Service]\nExecStart=/bin/true\n"
    own.unlink()


def test_without_a_socket_unit_the_daemon_makes_its_own_socket(user: User) -> None:
    user.torcctl("daemon", "install", "--now")
    done = user.torcctl("-f", "json", "daemon", "install", "--now", "--no-socket").json
    assert [(unit["unit"], unit["what"]) for unit in done["units"]] == [
        ("torcd.service", "unchanged"),
        ("torcd.socket", "removed"),
    ]
    assert user.torcctl("-f", "json", "daemon", "status").json["pid"] == user.pid()


def test_a_program_that_is_gone_is_told_and_not_tried_for_ever(user: User) -> None:
    user.torcctl("daemon", "install")
    unit = user.units / "torcd.service"
    lines = [
        "ExecStart=/nowhere/torcd" if line.startswith("ExecStart=") else line for line in unit.read_text().splitlines()
    ]
    unit.write_text("\n".join(lines) + "\n")
    user.systemctl("daemon-reload")
    failed = user.torcctl("workflows", "list", check=False)
    assert failed.code == 5
    assert "torcctl doctor" in failed.err
    found = user.torcctl("-f", "json", "doctor", check=False)
    assert found.code == 1
    (check,) = [check for check in found.json["checks"] if check["check"] == "service"]
    assert (check["verdict"], "/nowhere/torcd" in check["detail"]) == ("problem", True)
