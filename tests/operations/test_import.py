"""What an import takes and what it refuses: documents of every version, in every form, and whatever is none."""

import copy
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from builders import job, new_workflow, open_memory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transfer_rig import ImportedBench, bring_in, describe, export, export_text, pieces_in, pieces_of
from workbench import Workbench, as_json

from torcctl.document import load_document
from torcd.core import document as document_module
from torcd.core.paths import base_of, relate_path, resolve_path
from torcd.protocol.document import LISTS, Head, Record
from torcd.protocol.errors import Refused, TooLarge, TorcError
from torcd.protocol.requests import Initialize, Reinit
from torcd.storage import nouns
from torcd.storage.lists import load_page
from torcd.storage.load import load_state

DOCUMENTS = sorted((Path(__file__).parents[1] / "documents").glob("version_*.json"))
GOLDEN: dict[str, Any] = json.loads(DOCUMENTS[0].read_text())
LIVE = ("running", "pending")


def golden(**changes: Any) -> dict[str, Any]:
    """The sample of version 1 with other values at its top."""
    return {**copy.deepcopy(GOLDEN), **changes}


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    connection = open_memory()
    yield connection
    connection.close()


def refusal(db: sqlite3.Connection, document: dict[str, Any]) -> list[tuple[str, str]]:
    """(path, message) of each error, of an import that changes nothing."""
    before = list(db.iterdump())
    with pytest.raises(Refused) as caught:
        bring_in(db, pieces_of(document))
    assert list(db.iterdump()) == before
    return [(error["path"], error["message"]) for error in caught.value.data["errors"]]


# ---- the samples ----


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_a_document_of_an_earlier_version_is_imported_for_ever(path: Path) -> None:
    """Whatever a document holds is there afterwards: the export of its import says the same, in the same words."""
    sample = json.loads(path.read_text())
    bench = ImportedBench(pieces_in(path))
    try:
        again = export(bench)
        for each in sample["jobs"]:
            if each["status"] in LIVE:
                each |= {"status": "uninitialized", "attempt_is_history": True}
        sample["state"].pop("is_archived", None)
        assert {**again, "source": None} == {**sample, "source": None}
        bench.check()
    finally:
        bench.close()


def test_the_samples_have_every_field() -> None:
    samples = [json.loads(path.read_text()) for path in DOCUMENTS]
    assert set(Head.__struct_fields__) <= {key for sample in samples for key in sample}
    for name, kind in LISTS.items():
        entries = [entry for sample in samples for entry in sample[name]]
        assert set(kind.__struct_fields__) == {key for entry in entries for key in entry}, name
    records = [entry.get("record", {}) for sample in samples for entry in sample["files"]]
    assert set(Record.__struct_fields__) == {key for record in records for key in record}
    earlier = [each for sample in samples for entry in sample["jobs"] for each in entry.get("earlier_definitions", ())]
    (kind,) = get_args(get_type_hints(LISTS["jobs"])["earlier_definitions"])
    assert set(kind.__struct_fields__) == {key for each in earlier for key in each}


def test_live_jobs_become_uninitialized_with_a_warning() -> None:
    bench = ImportedBench(golden())
    status = bench.status()
    assert (status["runs"], status["claimed"], status["waits"]) == ("uninitialized", "uninitialized", "blocked")
    assert bench.warnings == [
        "2 jobs were pending or running; no worker holds them here, so they are uninitialized now",
        "the exported workflow was archived; this one is not",
    ]
    assert bench.events() == [
        (
            1,
            "workflow_created",
            {"name": "study", "jobs": 13, "imported": True, "was_live": 2, "was_archived": True},
        )
    ]
    bench.close()


def test_an_import_keeps_the_canceled_flag_and_not_the_archived_one() -> None:
    bench = ImportedBench(golden())
    assert (bench.state.is_canceled, bench.state.is_archived) == (True, False)
    bench.close()


def test_commands_are_literal() -> None:
    """SEMANTICS 3.2, 3.3: nothing of them is expanded again."""
    bench = ImportedBench(golden())
    ((command,),) = bench.rows("SELECT command FROM job WHERE name = 'clean'")
    assert command == GOLDEN["jobs"][0]["command"]
    bench.close()


def test_the_environment_of_a_job_is_whole() -> None:
    """That of the workflow, which an edit may have taken away, is not added to it."""
    bench = ImportedBench(golden())
    found = dict(bench.rows("SELECT name, env FROM job WHERE name IN ('clean', 'off')"))
    assert {name: json.loads(env) for name, env in found.items()} == {"clean": {"THREADS": "8", "EMPTY": ""}, "off": {}}
    bench.close()


def test_another_directory_moves_what_is_below_the_first() -> None:
    """SEMANTICS 3.6"""
    bench = ImportedBench(golden(), directory="/copy/of it")
    paths = dict(bench.rows("SELECT name, path FROM file"))
    assert paths["raw"] == "/copy/of it/in/raw.csv"
    assert paths["elsewhere"] == "/data/shared/table.bin"
    assert "/copy/of it/scripts/clean.py" in paths
    assert bench.rows("SELECT stdout_path, stderr_path FROM result WHERE return_code = 0 AND cpu_seconds") == [
        ("/copy/of it/.torc/7/job_1_3.o", "/var/log/torc/job_1_3.e")
    ]
    assert bench.state.submission_directory == "/copy/of it"
    assert {**export(bench), "directory": None}["files"] == GOLDEN["files"]
    bench.close()


@given(st.text("a./", min_size=1, max_size=8), st.sampled_from(["/", "/d", "/d/", "/a/a"]))
def test_a_path_is_found_again_by_what_is_written_of_it(written: str, directory: str) -> None:
    base = base_of(directory)
    path = resolve_path(written, base)
    assert resolve_path(relate_path(path, base), base) == path


def test_a_request_that_is_repeated_creates_nothing(db: sqlite3.Connection) -> None:
    """SEMANTICS 6.4"""
    first = bring_in(db, pieces_of(golden()), request_key="k")
    before = list(db.iterdump())
    assert bring_in(db, pieces_of(golden()), request_key="k") == first
    assert list(db.iterdump()) == before


def test_the_text_may_be_cut_anywhere(db: sqlite3.Connection) -> None:
    for limit in (7, 100, 10**6):
        pieces = pieces_in(DOCUMENTS[0], limit)
        assert all(len(piece.encode()) <= limit for piece in pieces)
        bring_in(db, pieces)
    assert db.execute("SELECT count(*) FROM job").fetchone() == (39,)


def test_a_document_may_be_written_in_any_way(tmp_path: Path) -> None:
    """Order, white space and escapes do not matter."""
    (tmp_path / "pretty.json").write_text(json.dumps(dict(reversed(GOLDEN.items())), indent=3, ensure_ascii=True))
    bench, other = ImportedBench(pieces_in(tmp_path / "pretty.json")), ImportedBench(golden())
    assert describe(bench) == describe(other)
    bench.close()
    other.close()


def test_a_job_that_is_longer_than_a_message_is_taken(make_bench: Callable[..., Workbench]) -> None:
    names = [f"input number {number}" for number in range(30_000)]
    bench = make_bench([job("gather", input_files=names, output_files=["out"])])
    text = export_text(bench.db, bench.workflow_id)
    assert len(text) > 1_000_000
    copied = ImportedBench(json.loads(text))
    assert describe(copied) == describe(bench)
    copied.close()


# ---- refusals ----

JOB, FILE, DATA, RESULT = ("jobs", 0), ("files", 0), ("user_data", 0), ("results", 1)
REFUSED: list[tuple[tuple[Any, ...], Any, str, str]] = [
    # where, what stands there instead, the path of the error, and a part of its message
    ((*JOB, "extra"), 1, "jobs[0].extra", "unknown field"),
    ((*JOB, "parameters"), {"i": "1:3"}, "jobs[0].parameters", "unknown field"),
    (("extra",), 1, "extra", "unknown field"),
    ((*FILE, "record", "extra"), 1, "files[0].record.extra", "unknown field"),
    ((*JOB, "comand"), "x", "jobs[0].comand", "unknown field 'comand'; did you mean 'command'?"),
    (("stat",), {}, "stat", "unknown field 'stat'; did you mean 'state'?"),
    (("state",), {"run_id": 4}, "state.version_counter", "the field 'version_counter' is missing"),
    ((*RESULT,), {"job": "clean"}, "results[1].attempt_id", "the field 'attempt_id' is missing"),
    (JOB, [], "jobs[0]", "Expected `object`, got `array`"),
    ((*JOB, "command"), 7, "jobs[0].command", "Expected `str`, got `int`"),
    ((*JOB, "priority"), 2**31, "jobs[0].priority", "32 bits"),
    ((*JOB, "attempt_id"), -1, "jobs[0].attempt_id", ">= 0"),
    ((*JOB, "attempt_id"), 2**40, "jobs[0].attempt_id", "<= 1000000000"),
    ((*JOB, "name"), "", "jobs[0].name", "empty"),
    ((*JOB, "name"), "runs", "jobs[8].name", "already that of jobs[0]"),
    ((*JOB, "input_files", 0), "raws", "jobs[0].input_files[0]", "there is no file 'raws'; did you mean 'raw'?"),
    ((*JOB, "input_user_data", 0), "x", "jobs[0].input_user_data[0]", "there is no user data 'x'"),
    (("jobs", 3, "depends_on", 0), "x", "jobs[3].depends_on[0]", "there is no job 'x'"),
    ((*JOB, "scripts", 0), "scripts/clear.py", "jobs[0].scripts[0]", "did you mean 'scripts/clean.py'?"),
    ((*JOB, "resource_requirements"), "larg", "jobs[0].resource_requirements", "did you mean 'large'?"),
    ((*JOB, "scheduler"), "day", "jobs[0].scheduler", "no Slurm scheduler 'day'"),
    ((*JOB, "status"), "complete", "jobs[0].status", "did you mean 'completed'?"),
    ((*JOB, "status_reason"), "accepting", "jobs[0].status_reason", "did you mean 'accepted'?"),
    ((*JOB, "run_id"), 5, "jobs[0].run_id", "run 5 is later than the workflow's own, 4"),
    ((*JOB, "started_at_version"), 31, "jobs[0].started_at_version", "above the version counter, which is 30"),
    ((*JOB, "definition_version"), 18, "jobs[0].definition_version", "18 does not come after 18"),
    ((*JOB, "earlier_definitions", 1, "version"), 0, "jobs[0].earlier_definitions[1].version", "not come after 0"),
    ((*JOB, "output_files"), ["gone"], "jobs[2].output_files[0]", "already an output of job 'clean'"),
    ((*JOB, "depends_on"), ["waits"], "jobs[0].depends_on[0]", "cycle"),
    (("jobs", 10, "depends_on"), [], "jobs[10].status", "nothing that it depends on is still to end"),
    (("jobs", 10, "status"), "ready", "jobs[10].status", "something that it depends on is still to end"),
    ((*FILE, "path"), "", "files[0].path", "empty"),
    ((*FILE, "path"), "work/clean.csv", "files[2].path", "same path"),
    ((*FILE, "on_missing"), "keep", "files[0].on_missing", "Invalid enum value"),
    ((*FILE, "record", "version"), 31, "files[0].record.version", "above the version counter"),
    ((*FILE, "record", "digest"), "abc", "files[0].record.digest", "regex"),
    ((*FILE, "record", "mtime_ns"), 2**63, "files[0].record.mtime_ns", "9223372036854775807"),
    ((*FILE, "record", "size"), None, "files[0].record", "stand together"),
    ((*FILE, "replaced", 1, "version"), 1, "files[0].replaced[1].version", "1 does not come after 1"),
    ((*FILE, "replaced", 1, "digest"), "0" * 32, "files[0].replaced[1]", "absent file has no content"),
    (("scripts", 1, "path"), "scripts/clean.py", "scripts[1].path", "listed twice"),
    (("scripts", 1, "path"), "a\0b", "scripts[1].path", "NUL"),
    ((*DATA, "versions", 1, "version"), 0, "user_data[0].versions[1].version", "0 does not come after 0"),
    ((*DATA, "versions", 1, "version"), 31, "user_data[0].versions[1].version", "above the version counter"),
    ((*RESULT, "job"), "clear", "results[1].job", "did you mean 'clean'?"),
    ((*RESULT, "attempt_id"), 4, "results[1].attempt_id", "has had no attempt 4"),
    ((*RESULT, "attempt_id"), 0, "results[1].attempt_id", "has had no attempt 0"),
    ((*RESULT, "attempt_id"), 1, "results[1].attempt_id", "has a result already"),
    ((*RESULT, "status"), "running", "results[1].status", "ends as one of"),
    ((*RESULT, "ended_at_ms"), 10**15, "results[1].ended_at_ms", "<= 253402300799999"),
    ((*RESULT, "stdout_path"), "", "results[1].stdout_path", "empty"),
    (("name",), "", "name", "empty"),
    (("env",), {"A=B": ""}, "env.A=B", "no name for an environment variable"),
    (("detect",), "guess", "detect", "Invalid enum value"),
    (("state", "run_id"), None, "state.run_id", "Expected `int`, got `null`"),
    (("resource_requirements", 0, "memory"), "8", "resource_requirements[0].memory", "not a memory size"),
]


@pytest.mark.parametrize(("where", "value", "path", "message"), REFUSED, ids=lambda part: str(part)[:40])
def test_what_does_not_fit_is_refused_with_its_place(
    db: sqlite3.Connection, where: tuple[Any, ...], value: Any, path: str, message: str
) -> None:
    """As strictly as a specification is (SEMANTICS 3.5)."""
    document = golden()
    place: Any = document
    for step in where[:-1]:
        place = place[step]
    place[where[-1]] = value
    found = refusal(db, document)
    assert any(path == each and message in text for each, text in found), found


def test_a_newer_version_says_what_to_update(db: sqlite3.Connection) -> None:
    with pytest.raises(Refused, match="version 2 of the format is not known to this torcd, which reads 1 to 1: update"):
        bring_in(db, pieces_of(golden(version=2, something="new")))
    for version in (0, "1", True, 1.0, None, [1]):
        with pytest.raises(Refused, match="is not known to this torcd"):
            bring_in(db, pieces_of(golden(version=version)))


@pytest.mark.parametrize("first", ["", "{", "[]", "7", '{"format":"other"}', '{"name":"a specification"}', "[" * 5000])
def test_what_is_no_exported_workflow_is_refused(db: sqlite3.Connection, first: str) -> None:
    with pytest.raises(Refused, match="this is no exported workflow"):
        bring_in(db, [first])


def test_a_document_without_jobs_says_so(db: sqlite3.Connection) -> None:
    document = golden()
    del document["jobs"]
    assert refusal(db, document) == [("jobs", "the list of jobs is missing")]
    assert bring_in(db, pieces_of(golden(jobs=[], results=[]))) == 1


def test_entries_stand_in_lists(db: sqlite3.Connection) -> None:
    head = pieces_of({key: value for key, value in GOLDEN.items() if key not in LISTS})
    for rest, message in (('"workers"\n', "no list 'workers'"), ("{}\n", "has to come before its items")):
        with pytest.raises(Refused, match=message):
            bring_in(db, [*head, rest])


def test_many_errors_are_counted_and_end_the_reading(db: sqlite3.Connection) -> None:
    head = pieces_of({key: value for key, value in GOLDEN.items() if key not in LISTS})
    with pytest.raises(Refused) as caught:
        bring_in(db, [*head, '"jobs"\n', "\n" * 1_000_000])
    assert caught.value.data["count"] == 20


def test_an_entry_without_end_is_refused(db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document_module, "MAX_LINE", 10_000)
    with pytest.raises(TooLarge, match="longer than 10000"):
        bring_in(db, ["x" * 1000] * 20)


def test_a_key_that_stands_twice_is_refused(db: sqlite3.Connection, tmp_path: Path) -> None:
    text = DOCUMENTS[0].read_text()
    for before, after, message in (
        ('"status":"ready"', '"status":"ready","status":"failed"', "key 'status' stands twice"),
        ('{"a":{"b":[]}}', '{"a":{},"a":{"b":[]}}', "key 'a' stands twice"),
        ('"name": "study"', '"name": "other",\n"name": "study"', "key 'name' stands twice"),
        ('"name": "study"', '"jobs": [],\n"name": "study"', "key 'jobs' stands twice"),
        ('"name": "study"', '"name": "study",\n"name": "study"', "key 'name' stands twice"),
    ):
        assert text.count(before) == 1
        (tmp_path / "twice.json").write_text(text.replace(before, after))
        with pytest.raises(Refused, match=message):
            bring_in(db, pieces_in(tmp_path / "twice.json"))
    (tmp_path / "value.json").write_text(text.replace('{"threshold":0.75}', '{"threshold":0.75,"threshold":1}'))
    with pytest.raises(Refused, match="key 'threshold' stands twice"):
        bring_in(db, pieces_in(tmp_path / "value.json"))


@pytest.mark.parametrize("field", ["metadata", "slurm_defaults", "value"])
def test_what_is_nested_without_end_is_refused(db: sqlite3.Connection, field: str) -> None:
    for depth in (150, 3000):
        nested = '{"a":' * depth + "1" + "}" * depth
        if field == "value":
            pieces = pieces_of(
                golden(user_data=[*GOLDEN["user_data"], {"name": "x", "versions": [{"version": 0, "data": "HERE"}]}])
            )
        else:
            pieces = pieces_of(golden(**{field: "HERE" if field == "metadata" else {"a": "HERE"}}))
        with pytest.raises(Refused, match=r"nested|no exported workflow"):
            bring_in(db, ["".join(pieces).replace('"HERE"', nested)])


@pytest.mark.parametrize("directory", ["relative", "", "/with\0nul"])
def test_a_directory_has_to_be_an_absolute_path(db: sqlite3.Connection, directory: str) -> None:
    with pytest.raises(Refused, match="must be an absolute path"):
        bring_in(db, pieces_of(golden(directory=directory)))


# ---- anything at all ----

VALUES = st.sampled_from(
    [
        None, True, 0, -1, 1, 2, 30, 31, 2**31, 2**53 + 1, 2**63, 10**30, 0.5, "", "clean", "waits", "raw", "running",
        "blocked", "x\0y", "a\nb", "../..", "/", [], ["raw"], [[]], {}, {"version": 1}, {"a": {"b": 1}}, "é" * 300,
        [{"version": 3}, {"version": 3}], ["scripts/clean.py"], "completed", "pending", "disabled", "uninitialized",
    ]
)  # fmt: skip


def mutate(draw: Callable[[st.SearchStrategy[Any]], Any], document: Any) -> None:
    """Changes something somewhere."""
    place = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return
        key = draw(st.sampled_from(keys))
        inner = place[key]
        if isinstance(inner, (dict, list)) and draw(st.integers(0, 5)):
            place = inner
            continue
        match draw(st.sampled_from(["delete", "replace", "replace", "repeat", "swap", "add"])):
            case "delete":
                del place[key]
            case "replace":
                place[key] = copy.deepcopy(draw(VALUES))
            case "repeat" if isinstance(place, list):
                place.append(copy.deepcopy(inner))
            case "swap":
                other = draw(st.sampled_from(keys))
                place[key], place[other] = place[other], place[key]
            case "add" if isinstance(place, dict):
                place[draw(st.sampled_from(["x", "status", "data", "record", "replaced", "jobs"]))] = copy.deepcopy(
                    draw(VALUES)
                )
        return


def use(db: sqlite3.Connection, workflow_id: int) -> None:
    """What anybody may do with an imported workflow; a refusal is an answer."""
    load_state(db, workflow_id)
    for listing in (nouns.JOBS, nouns.FILES, nouns.USER_DATA, nouns.ALL_RESULTS, nouns.CURRENT_RESULTS, nouns.EVENTS):
        as_json(load_page(db, listing, (workflow_id,), (), 0, 1000)[0])
    as_json(nouns.load_one(db, nouns.WORKFLOWS, "workflow", "id = ?", (workflow_id,), workflow_id))


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_document_that_was_tampered_with_is_taken_whole_or_not_at_all(data: st.DataObject) -> None:
    """Whatever is taken can be loaded, shown, run and exported again; a refusal changes nothing."""
    document = golden()
    for _ in range(data.draw(st.integers(1, 3))):
        mutate(data.draw, document)
    db = open_memory()
    before = list(db.iterdump())
    try:
        workflow_id = bring_in(db, pieces_of(document))
    except Refused:
        assert list(db.iterdump()) == before
        db.close()
        return
    use(db, workflow_id)
    db.close()
    bench = ImportedBench(document)
    try:
        again = ImportedBench(export(bench))
        assert describe(again) == describe(bench)
        again.close()
        for kind in (Reinit, Initialize):
            try:
                bench.operate(kind, force=True)
            except TorcError:
                continue
            bench.run_all()
    finally:
        bench.close()


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_text_that_was_damaged_is_taken_whole_or_not_at_all(data: st.DataObject, tmp_path: Path) -> None:
    """Bytes that are lost, changed or added, as a bad disk or a full one does."""
    text = bytearray(DOCUMENTS[0].read_bytes())
    for _ in range(data.draw(st.integers(1, 2))):
        place = data.draw(st.integers(0, len(text) - 1))
        match data.draw(st.sampled_from(["cut", "flip", "insert", "lose"])):
            case "cut":
                del text[place:]
            case "flip":
                text[place] = data.draw(st.integers(0, 255))
            case "insert":
                text[place:place] = data.draw(
                    st.sampled_from([b'"', b"{", b"]", b",", b"\n", b"\xff", b"\\", b"0", b" "])
                )
            case "lose":
                del text[place : place + data.draw(st.integers(1, 40))]
        if not text:
            break
    path = tmp_path / "damaged.json"
    path.write_bytes(text)
    db = open_memory()
    before = list(db.iterdump())
    try:
        workflow_id = bring_in(db, pieces_in(path))
    except Refused:
        assert list(db.iterdump()) == before
    else:
        use(db, workflow_id)
    finally:
        db.close()


def test_a_truncated_document_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "half.json"
    path.write_bytes(DOCUMENTS[0].read_bytes()[:3000])
    with pytest.raises(Refused, match=r"half.json:\d+: no exported workflow: not JSON"):
        load_document(path)
    assert msgspec.json.decode(DOCUMENTS[0].read_bytes()) == GOLDEN
    assert new_workflow([job("a")]).origin == {}
