"""Files, user data and workers, one at a time and with their past, with the real programs (INTERFACE 2)."""

from real_system import System

SPEC = {
    "name": "w",
    "files": [{"name": "in", "path": "in.txt"}, {"name": "7", "path": "seven.txt"}],
    "user_data": [{"name": "limit", "data": {"most": 3}}, {"name": "made"}],
    "jobs": [{"name": "a", "command": "true", "input_files": ["in"], "input_user_data": ["limit"]}],
}


def test_a_file_is_shown_by_name_or_id_with_what_was_accepted_of_it(system: System) -> None:
    """INTERFACE 1 (names and ids), 2; SEMANTICS 4.7"""
    first = system.write("in.txt", "1").stat()
    at = system.create(SPEC)
    listed = {file["name"]: file for file in system.torcctl("files", "list", at, json=True)["files"]}
    assert system.torcctl("-k", at, "files", "history", "in", json=True) == {"history": []}
    system.torcctl("run", at)
    second = system.write("in.txt", "22").stat()
    system.torcctl("workflows", "reinit", at)

    file = system.torcctl("-k", at, "files", "get", "in", json=True)
    assert file == system.torcctl("files", "get", file["id"], json=True)
    assert (file["name"], file["recorded"], file["mtime_ns"], file["size"]) == ("in", "present", second.st_mtime_ns, 2)
    history = system.torcctl("files", "history", file["id"], json=True)["history"]
    assert history == system.torcctl("-k", at, "files", "history", "in", json=True)["history"]
    assert [list(each) for each in history] == [["file_id", "version", "recorded", "mtime_ns", "size"]] * 2
    assert [(each["mtime_ns"], each["size"]) for each in history] == [
        (second.st_mtime_ns, 2),
        (first.st_mtime_ns, 1),
    ]
    assert history[0]["version"] == file["version"]
    text = system.torcctl("files", "history", file["id"]).out.splitlines()
    assert [line.split()[:2] for line in text] == [
        ["version", "recorded"],
        *([str(each["version"]), "present"] for each in history),
    ]
    assert f"path: {system.work / 'in.txt'}\n" in system.torcctl("files", "get", file["id"]).out

    assert system.torcctl("-k", at, "files", "get", "nothing", check=False).code == 3
    other = system.create(SPEC)
    assert system.torcctl("-k", other, "files", "history", file["id"], check=False).code == 3
    assert system.torcctl("-k", other, "files", "get", "in", json=True)["workflow_id"] == other
    assert system.torcctl("-k", at, "files", "get", listed["7"]["id"], json=True)["name"] == "7"


def test_user_data_is_shown_with_all_its_values(system: System) -> None:
    """INTERFACE 2; SEMANTICS 4.3"""
    system.write("in.txt", "1")
    at = system.create(SPEC)
    system.torcctl("-k", at, "user-data", "update", "limit", "--data", "[1, 2]")
    system.torcctl("-k", at, "user-data", "update", "limit", "--data", "[1,2]")
    shown = system.torcctl("-k", at, "user-data", "get", "limit", json=True)
    history = system.torcctl("-k", at, "user-data", "history", "limit", json=True)["history"]
    assert history == [
        {"user_data_id": shown["id"], "version": shown["version"], "data": [1, 2], "is_set": True},
        {"user_data_id": shown["id"], "version": 0, "data": {"most": 3}, "is_set": True},
    ]
    assert history == system.torcctl("user-data", "history", shown["id"], json=True)["history"]
    assert system.torcctl("-k", at, "user-data", "history", "made", json=True) == {"history": []}
    assert system.torcctl("-k", at, "user-data", "history", "nothing", check=False).code == 3
    assert "[1,2]" in system.torcctl("user-data", "history", shown["id"]).out


def test_a_worker_is_shown_by_its_id(system: System) -> None:
    """INTERFACE 2"""
    system.write("in.txt", "1")
    at = system.create(SPEC)
    system.torcctl("run", at)
    (worker,) = system.torcctl("workers", "list", at, json=True)["workers"]
    assert system.torcctl("workers", "get", worker["id"], json=True) == worker
    assert f"hostname: {worker['hostname']}\n" in system.torcctl("workers", "get", worker["id"]).out
    assert system.torcctl("-k", at + 1, "workers", "get", worker["id"], check=False).code == 3
    assert system.torcctl("workers", "get", 99999, check=False).code == 3
