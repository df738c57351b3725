"""torcd as a service, beside a real `systemd --user` (docs/service.md)."""

import json
import os
import re
import select
import stat

from service_rig import PATIENCE_S, User

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


def test_it_is_installed_in_one_way_or_the_other_and_taken_away_again(user: User) -> None:
    """INTERFACE 3 (daemon)"""
    done = user.torcctl("-f", "json", "daemon", "install", "--now").json
    written = [("torcd.service", "written"), ("torcd.socket", "written")]
    assert [(unit["unit"], unit["what"]) for unit in done["units"]] == written
    assert (done["running"], done["pid"]) == (True, user.pid())
    assert user.systemctl("is-enabled", "torcd.service", "torcd.socket").out.split() == ["enabled", "enabled"]
    status = user.torcctl("-f", "json", "daemon", "status").json
    assert (status["pid"], status["database"]) == (done["pid"], str(user.database))
    verified = user.run("systemd-analyze", "--user", "verify", user.units / "torcd.service")
    assert verified.out + verified.err == ""
    checks = user.torcctl("-f", "json", "doctor", check=False).json["checks"]
    assert {check["check"] for check in checks if check["verdict"] == "problem"} <= {"slurm"}, "that is the machine's"
    assert f"serves {user.database}" in user.torcctl("daemon", "logs").out
    assert stat.S_IMODE(user.database.with_name("torcd.log").stat().st_mode) == 0o600

    again = user.torcctl("-f", "json", "daemon", "install", "--now").json
    assert {unit["what"] for unit in again["units"]} == {"unchanged"}
    assert again["pid"] == done["pid"]

    bare = user.torcctl("-f", "json", "daemon", "install", "--now", "--no-socket").json
    changed = [("torcd.service", "unchanged"), ("torcd.socket", "removed")]
    assert [(unit["unit"], unit["what"]) for unit in bare["units"]] == changed
    assert user.torcctl("-f", "json", "daemon", "status").json["pid"] == user.pid()

    gone = user.torcctl("-f", "json", "daemon", "uninstall").json
    assert [unit["unit"] for unit in gone["units"]] == ["torcd.service"]
    assert not user.units.exists()
    assert "torcd" not in user.systemctl("list-unit-files", "torcd.*", check=False).out
    assert not user.socket.exists()
    assert user.database.exists()
    assert user.torcctl("daemon", "uninstall").out == "nothing was installed\n"


def test_its_socket_or_a_command_starts_it_and_neither_a_look_nor_its_stop_does(user: User) -> None:
    """INTERFACE 1 (autostart), 2 (daemon status never starts one)"""
    user.torcctl("daemon", "install")
    user.systemctl("start", "torcd.socket")
    status = user.torcctl("-f", "json", "daemon", "status", check=False)
    assert (status.code, status.json["running"]) == (5, False)
    assert "the next command starts it" in status.err
    assert user.pid() == 0
    assert user.torcctl("--no-autostart", "-f", "json", "workflows", "list").json == {"workflows": []}
    assert user.pid() != 0

    assert user.torcctl("daemon", "stop").out == "running: false\n"
    assert user.systemctl("is-active", "torcd.service", "torcd.socket", check=False).out.split() == ["inactive"] * 2
    assert user.torcctl("--no-autostart", "workflows", "list", check=False).code == 5
    user.torcctl("workflows", "list")
    assert user.systemctl("is-active", "torcd.service", "torcd.socket").out.split() == ["active"] * 2

    other = [f"TORCD_DATABASE={user.directory}/other/torc.db", f"TORCD_SOCKET={user.directory}/other/torcd.sock"]
    started = user.run("env", *other, "torcctl", "-f", "json", "daemon", "start").json
    assert started["pid"] != user.pid(), "the service is for another database"
    user.run("env", *other, "torcctl", "daemon", "stop")
    assert user.pid() != 0


def test_a_run_goes_on_while_its_daemon_becomes_the_service_is_killed_and_is_stopped(user: User) -> None:
    """SEMANTICS 8.4; jobs are not in the daemon's unit"""
    run = Run(user)
    by_hand = user.torcctl("-f", "json", "daemon", "status").json["pid"]
    installed = user.torcctl("daemon", "install")
    assert f"process {by_hand} runs already" in installed.err
    assert "service: not running\n" in installed.out
    done = user.torcctl("-f", "json", "daemon", "install", "--now")
    assert f"process {by_hand}" in done.err
    first = user.pid()
    assert first not in (0, by_hand)

    user.run("kill", "-KILL", first)
    user.wait_until(lambda: user.pid() not in (0, first))
    assert user.show("torcd.service", "NRestarts") == "1"

    second = user.pid()
    user.torcctl("daemon", "stop")
    user.wait_until(lambda: user.pid() not in (0, second))  # started by the worker, once the stop was done
    assert user.show("torcd.service", "NRestarts") == "0"

    assert run.finish() == "0"
    results = user.torcctl("-f", "json", "results", "list", "--all-runs").json["results"]
    assert sorted(result["job_name"] for result in results) == ["other", "waits"]


def test_a_daemon_that_says_nothing_is_restarted_by_the_watchdog(user: User) -> None:
    user.torcctl("daemon", "install")
    drop_in = user.units / "torcd.service.d" / "test.conf"
    drop_in.parent.mkdir()
    drop_in.write_text("[Service]\nWatchdogSec=8\nTimeoutAbortSec=1\n")
    user.systemctl("daemon-reload")
    user.torcctl("daemon", "start")
    before = user.pid()
    user.run("sleep", 8.5)  # longer than the interval: it is fed
    assert user.pid() == before
    user.run("kill", "-STOP", before)
    user.wait_until(lambda: user.pid() not in (0, before))
    user.wait_until(lambda: user.torcctl("daemon", "status", check=False).code == 0)
    assert user.show("torcd.service", "NRestarts") == "1"


def test_a_unit_of_the_users_own_is_not_touched_and_a_program_that_is_gone_is_told(user: User) -> None:
    user.units.mkdir(parents=True, exist_ok=True)
    own = user.units / "torcd.service"
    own.write_text("[Service]\nExecStart=/bin/true\n")
    for verb in ("install", "uninstall"):
        refused = user.torcctl("daemon", verb, check=False)
        assert refused.code == 4
        assert str(own) in refused.err
    assert own.read_text() == "[Service]\nExecStart=/bin/true\n"
    own.unlink()

    user.torcctl("daemon", "install")
    own.write_text(re.sub("^ExecStart=.*", "ExecStart=/nowhere/torcd", own.read_text(), flags=re.MULTILINE))
    user.systemctl("daemon-reload")
    failed = user.torcctl("workflows", "list", check=False)
    assert failed.code == 5
    assert "torcctl doctor" in failed.err
    found = user.torcctl("-f", "json", "doctor", check=False)
    assert found.code == 1
    (check,) = [check for check in found.json["checks"] if check["check"] == "service"]
    assert (check["verdict"], "/nowhere/torcd" in check["detail"]) == ("problem", True)
