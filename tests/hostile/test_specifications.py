"""No specification and no document harms who reads it: it is taken, or refused with its place (SEMANTICS 3.5)."""

import json
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bombs import BOMBS, main
from fuzzing import fuzzing
from hypothesis import given
from hypothesis import strategies as st
from message_strategies import HOSTILE, any_json, hostile, values_of
from raw_peer import RawPeer
from real_system import PATIENCE_S, System

from torcctl.document import parse_document
from torcctl.specification import Loaded, load_specification
from torcd.protocol.errors import ERRORS, Refused

MOST_CPU_S = 8.0
"""For any of the bombs, on a machine that does much else."""

MOST_MIB = 300
"""What loading all of them may take: the largest is a specification of 50,000 jobs, which is honest."""

TAKEN = {
    "quadratic aliases.yaml", "merge keys.yaml", "anchors.yaml", "scalar.yaml", "names.yaml", "comments.json5",
    "tables.toml",
}  # fmt: skip
"""Those that are large and otherwise as they should be."""


def test_bombs_are_refused_within_time_and_memory_or_taken() -> None:
    """SEMANTICS 3.5: the message names the file, and the line where the format tells it."""
    ran = subprocess.run(
        [sys.executable, main.__code__.co_filename], capture_output=True, text=True, timeout=PATIENCE_S * 2, check=False
    )
    assert ran.returncode == 0, ran.stderr
    told = {line["name"]: line for line in map(json.loads, ran.stdout.splitlines())}
    assert told.keys() == BOMBS.keys()
    assert {name for name, line in told.items() if line["outcome"] == "loaded"} == TAKEN
    for name, line in told.items():
        assert line["outcome"] in ("loaded", "refused"), line
        assert line["cpu_s"] < MOST_CPU_S, line
        assert line["peak_mib"] < MOST_MIB, line
        if line["outcome"] == "refused":
            assert f"/{name}:" in line["message"], line
            assert line["length"] < 5000, line


SEEDS = {
    ".yaml": "name: x\nenv: {A: 1.10}\nmetadata: &a [1, 0x1F, 0o17, ~, .5e3]\nfiles:\n- name: f\n  path: p\njobs:\n"
    "- {name: 'j{i}', command: 'cat ${files.input.f}', parameters: {i: '1:3'}, env: {<<: &e {B: c}}}\nuser_data: []\n",
    ".json": '{"name": "x", "metadata": {"a": [1, 2.5e3, null]}, "jobs": [{"name": "j\\u00e9", "command": "c"}]}',
    ".json5": "// a\n{name: 'x', metadata: {a: [+1, .5, 0x1F,]}, jobs: [{name: \"j\", command: 'c\\\nd'}]}",
    ".toml": "name = 'x'\nmetadata = {a = [1, 2.5, 1979-05-27]}\n[[jobs]]\nname = \"j\"\ncommand = '''c'''\n",
}
INSERTS = (
    "\0", "\ufeff", "\t", "\r", "\u2028", "\x85", "&a ", "*a", "<<: ", "!!int ", "!x ", "? ", "- ", ": ", "{", "}", "[",
    "]", '"', "'", "'''", "\\", "\\u", "\\ud800", "#", "/*", "//", "---\n", "...\n", "%YAML 1.1\n", "|\n", ">-\n",
    "1e999", "-.inf", "NaN", "0x", "9" * 30, "name: ", "jobs", "\U0001f4a3", "\ud800", "=", "[[jobs]]\n", ".", ",",
    "null", "true",
)  # fmt: skip


@st.composite
def spoilt_texts(draw: st.DrawFn) -> tuple[str, bytes]:
    """A specification into which some characters have fallen, or from which some are gone."""
    suffix = draw(st.sampled_from(sorted(SEEDS)))
    text = SEEDS[draw(st.sampled_from(sorted(SEEDS)))] if not draw(st.integers(0, 9)) else SEEDS[suffix]
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, len(text)))
        gone = draw(st.integers(0, 4)) if draw(st.booleans()) else 0
        text = text[:place] + draw(st.sampled_from(INSERTS) | st.text(max_size=3)) + text[place + gone :]
    data = text.encode(errors="surrogatepass")
    if not draw(st.integers(0, 9)):
        place = draw(st.integers(0, len(data)))
        data = data[:place] + draw(st.binary(max_size=4)) + data[place:]
    return suffix, data


@fuzzing(300)
@given(spoilt=spoilt_texts())
def test_any_text_is_loaded_or_refused_with_its_place(
    spoilt: tuple[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """SEMANTICS 3.5"""
    suffix, data = spoilt
    path = tmp_path_factory.getbasetemp() / f"spoilt{suffix}"
    path.write_bytes(data)
    try:
        loaded = load_specification(path)
    except Refused as error:
        refusal = error
    else:
        assert isinstance(loaded, Loaded)
        msgspec.json.encode(loaded.spec)  # what was loaded can be sent
        return
    assert refusal.message.startswith(str(path))
    assert refusal.data["errors"][0]["file"] == str(path)


def test_a_pipe_and_a_device_are_read_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torcctl.specification import load

    monkeypatch.setattr(load, "MAX_BYTES", 1_000_000)
    with pytest.raises(Refused, match="larger than"):
        load_specification(Path("/dev/zero"))


# ---- in the daemon ----


@pytest.fixture(scope="module")
def peer(shared: System) -> Iterator[RawPeer]:
    with RawPeer(shared.socket) as made:
        yield made


def verdict(peer: RawPeer, call: dict[str, Any], piece: Any, *, dry: bool) -> tuple[Any, Any]:
    """Code and message, or the counts; of a bad piece what the upload says."""
    if piece is not None:
        answer = peer.call("uploads.append", {"upload": "u", "piece": piece})
        if "error" in answer:
            return answer["error"]["code"], None
        call = {**call, "upload": "u"}
    answer = peer.call("workflows.create", {**call, "dry_run": dry})
    error = answer.get("error")
    if error is None:
        return 0, answer["result"]["counts"]
    assert error["code"] in ERRORS, error
    return error["code"], error["message"]


@fuzzing(100)
@given(call=values_of("workflows.create"), piece=values_of("uploads.append"), data=st.data())
def test_a_dry_run_and_the_real_thing_give_one_verdict(
    shared: System, peer: RawPeer, call: dict[str, Any], piece: dict[str, Any], data: st.DataObject
) -> None:
    """SEMANTICS 3.5 and 5.4"""
    content = piece["piece"]
    jobs = content.get("jobs")
    if jobs and data.draw(st.integers(0, 3)) == 0:
        field = data.draw(st.sampled_from(["name", "command", "depends_on", "parameters", "priority", "env"]))
        jobs[0][field] = data.draw(hostile if field != "parameters" else st.just({"i": "0:1e18"}))
    call = {**call, "directory": str(shared.work), "request_key": None}
    call.pop("upload", None)
    text = json.dumps(content)
    if any(bad in text for bad in ("NaN", "Infinity", "\\ud", "1" + "0" * 300)) or len(text) > 100_000:
        return  # no JSON, and answered as such: `test_messages`
    assert verdict(peer, call, content, dry=True) == verdict(peer, call, content, dry=False)


@pytest.fixture(scope="module")
def exported(shared: System) -> dict[str, Any]:
    """A document with everything in it: a workflow that has run, and changed."""
    shared.write("in", "x")
    workflow_id = shared.create(
        {
            "name": "exported",
            "env": {"A": "b"},
            "files": [{"name": "in", "path": "in"}, {"name": "out", "path": "out"}],
            "user_data": [{"name": "value", "data": {"a": [1]}}],
            "jobs": [
                {
                    "name": "maker",
                    "command": "cp in out",
                    "input_files": ["in"],
                    "output_files": ["out"],
                    "env": {"A": "b"},
                },
                {"name": "user", "command": "exit 3", "input_files": ["out"], "input_user_data": ["value"]},
            ],
        }
    )
    shared.torcctl("run", workflow_id, check=False)
    shared.torcctl("-k", workflow_id, "user-data", "update", "value", "--data", "2")
    document: dict[str, Any] = json.loads(shared.torcctl("workflows", "export", workflow_id, "--results").out)
    return document


NAMES = ("\0", "a\nb", "../../x", "", "-rf", "\u202e", "a" * 5000, "\x1b[2J")


@fuzzing(100)
@given(data=st.data())
def test_any_document_is_imported_or_refused(
    shared: System, peer: RawPeer, exported: dict[str, Any], data: st.DataObject
) -> None:
    """SEMANTICS 3.5, for documents: nothing of one that does not fit is created."""
    document = json.loads(json.dumps(exported))
    for _ in range(data.draw(st.integers(1, 3))):
        spoil(document, data)
    text = json.dumps(document)
    try:
        parsed = parse_document(text.encode(), "document.json")
    except Refused:
        return
    before = peer.call("workflows.list", {"limit": 5000})["result"]["workflows"][-1]["id"]
    lines = b"".join(parsed.lines()).decode()
    answer = peer.call("uploads.append_document", {"upload": "d", "piece": lines})
    if "error" not in answer:
        answer = peer.call("workflows.import", {"upload": "d", "user": "me", "directory": str(shared.work)})
    after = peer.call("workflows.list", {"limit": 5000})["result"]["workflows"][-1]["id"]
    if "error" in answer:
        assert answer["error"]["code"] in ERRORS, answer
        assert after == before
    else:
        created = answer["result"]["workflow_id"]
        assert peer.call("workflows.status", {"workflow_id": created})["result"]["workflow_id"] == created
        peer.call("workflows.reinit", {"workflow_id": created, "dry_run": True})
        assert peer.call("workflows.delete", {"workflow_id": created}).get("error") is None


def spoil(value: Any, data: st.DataObject) -> None:
    """Changes one thing somewhere in a document."""
    while True:
        places = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not places:
            return
        place = data.draw(st.sampled_from(places))
        if isinstance(value[place], (dict, list)) and value[place] and data.draw(st.integers(0, 5)):
            value = value[place]
            continue
        match data.draw(st.integers(0, 4)):
            case 0:
                del value[place]
            case 1 if isinstance(value, dict):
                value[data.draw(st.sampled_from(NAMES))] = value[place]
            case 1:
                value.append(value[place])
            case 2:
                value[place] = data.draw(st.sampled_from(NAMES))
            case 3:
                value[place] = deepcopy(data.draw(st.sampled_from([bad for bad in HOSTILE if _is_json(bad)])))
            case _:
                value[place] = data.draw(any_json)
        return


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False).encode()
    except (ValueError, UnicodeError):
        return False
    return "\\ud" not in json.dumps(value)
