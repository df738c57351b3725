"""Specifications made to take all time or all memory: each is small for what it stands for.

Run as a program it loads all of them under a limit of memory, and prints what became of each.
"""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

JOBS = "jobs: [{name: a, command: b}]\n"
MEMORY_LIMIT = 1536 * 2**20
"""Of address space: Python with everything imported has 300 MB of it."""


def _aliases(levels: int, width: int) -> str:
    lines = ["name: x\n", JOBS, "metadata:\n", "  - &a0 [x, x]\n"]
    lines += [f"  - &a{level} [{', '.join([f'*a{level - 1}'] * width)}]\n" for level in range(1, levels)]
    return "".join(lines)


def _merges(count: int, keys: int) -> str:
    parts = [f"  - &m{part} {{{', '.join(f'k{part}_{key}: 1' for key in range(keys))}}}\n" for part in range(count)]
    merged = ", ".join(f"*m{part}" for part in range(count))
    return f"name: x\n{JOBS}metadata:\n" + "".join(parts) + f"  - <<: [{merged}]\n"


def _json(**fields: object) -> str:
    return json.dumps({"name": "x", "jobs": [{"name": "a", "command": "b"}], **fields})


BOMBS: dict[str, Callable[[], str | bytes]] = {
    "alias bomb.yaml": lambda: _aliases(30, 9),
    "quadratic aliases.yaml": lambda: "name: x\n" + JOBS + "metadata: [&a " + "x" * 500_000 + ", *a" * 100_000 + "]",
    "aliases of themselves.yaml": lambda: "name: x\njobs: &a [*a]\n",
    "merge keys.yaml": lambda: _merges(2000, 100),
    "merges of merges.yaml": lambda: "name: x\n" + JOBS + "metadata:\n  - &m0 {a: 1}\n"
    + "".join(f"  - &m{n} {{<<: [*m{n - 1}, *m{n - 1}], k{n}: 1}}\n" for n in range(1, 5000)),
    "flow lists.yaml": lambda: "name: x\nmetadata: " + "[" * 200_000,
    "flow mappings.yaml": lambda: "name: x\nmetadata: " + "{a: " * 200_000,
    "blocks.yaml": lambda: "name: x\nmetadata:\n" + "".join(" " * depth + "a:\n" for depth in range(1, 3000)),
    "dashes.yaml": lambda: "name: x\nmetadata:\n" + "- " * 200_000,
    "anchors.yaml": lambda: "name: x\n" + JOBS + "metadata: [" + ", ".join(f"&a{n} x" for n in range(100_000)) + "]",
    "objects.yaml": lambda: "name: !!python/object/apply:os.system ['touch pwned']\n" + JOBS,
    "complex keys.yaml": lambda: "name: x\n" + "? [a, b]\n: c\n" * 100_000 + JOBS,
    "equal keys.yaml": lambda: "name: x\nname: y\n" + JOBS,
    "scalar.yaml": lambda: "name: x\n" + JOBS + "description: " + "d" * 10_000_000,
    "digits.yaml": lambda: "name: x\n" + JOBS + "metadata: " + "9" * 3_000_000,
    "float.yaml": lambda: "name: x\n" + JOBS + "metadata: 1" + "0" * 1_000_000 + ".5",
    "documents.yaml": lambda: "--- {}\n" * 100_000,
    "binary.yaml": lambda: bytes(range(256)) * 10_000,
    "utf-16.yaml": lambda: ("name: x\n" + JOBS).encode("utf-16"),
    "two marks.yaml": lambda: b"\xef\xbb\xbf\xef\xbb\xbfname: x\n",
    "nul.yaml": lambda: "name: x\0y\n" + JOBS,
    "names.yaml": lambda: "name: x\njobs:\n" + "".join(f"- {{name: j{n}, command: c}}\n" for n in range(50_000)),
    "lists.json": lambda: '{"name":"x","metadata":' + "[" * 1_000_000,
    "objects.json": lambda: '{"name":"x","metadata":' + '{"a":' * 1_000_000,
    "closed lists.json": lambda: _json()[:-1] + ',"metadata":' + "[" * 100_000 + "]" * 100_000 + "}",
    "digits.json": lambda: _json()[:-1] + ',"metadata":' + "9" * 5_000_000 + "}",
    "equal keys.json": lambda: '{"name":"x",' + '"a":1,' * 500_000 + '"jobs":[]}',
    "equal keys in disguise.json": lambda: '{"name":"x","jobs":[],"metadata":{"a":1,"\\u0061":2}}',
    "halves.json": lambda: '{"name":"x","jobs":[],"metadata":"\\ud800"}',
    "infinite.json": lambda: '{"name":"x","jobs":[],"metadata":[NaN,Infinity,1e999]}',
    "open text.json": lambda: '{"name":"' + "a" * 5_000_000,
    "long unknown.json": lambda: _json(**{"x" * 5_000_000: 1}),
    "depth.json5": lambda: "{name:'x',metadata:" + "[" * 1_000_000,
    "open comment.json5": lambda: "{name:'x'," + "/*" * 2_000_000,
    "comments.json5": lambda: "{name:'x'," + "/**/" * 500_000 + "jobs:[{name:'a',command:'b'}]}",
    "equal keys.json5": lambda: "{name:'x',jobs:[],metadata:{a:1,'a':2}}",
    "depth.toml": lambda: "name='x'\nmetadata=" + "[" * 200_000,
    "dots.toml": lambda: "name='x'\nmetadata." + "a." * 5_000 + "a=1\n[[jobs]]\nname='a'\ncommand='b'\n",
    "table dots.toml": lambda: "name='x'\n[metadata." + "a." * 5_000 + "a]\nb=1\n",
    "digits.toml": lambda: "name='x'\nmetadata=" + "9" * 1_000_000,
    "open text.toml": lambda: "name='''" + "a" * 3_000_000,
    "tables.toml": lambda: "name='x'\n" + "[[jobs]]\nname='a'\ncommand='b'\n" * 30_000,
    "no suffix": lambda: "{" * 300_000,
    "no suffix either": lambda: "- " * 100_000,
    "empty.yaml": lambda: "",
    "spaces.json": lambda: " " * 5_000_000,
}  # fmt: skip


def find_peak_mib() -> int:
    """The most memory this program has had: what it was before exec, a copy of a large test process, is not in it."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) // 1024


def main() -> None:
    from torcctl.specification import load_specification
    from torcd.protocol.errors import Refused

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    with tempfile.TemporaryDirectory() as directory:
        for name, make in BOMBS.items():
            path = Path(directory) / name
            made = make()
            path.write_bytes(made if isinstance(made, bytes) else made.encode(errors="surrogatepass"))
            del made
            began = time.process_time()
            try:
                load_specification(path)
                outcome, message = "loaded", ""
            except Refused as error:
                outcome, message = "refused", error.message
            except Exception as error:  # noqa: BLE001 - told to the test
                outcome, message = type(error).__name__, str(error)
            took = time.process_time() - began
            peak_mib = find_peak_mib()
            told = {"name": name, "outcome": outcome, "message": message[:2000], "length": len(message)}
            print(json.dumps({**told, "cpu_s": took, "peak_mib": peak_mib}), flush=True)
            path.unlink()


if __name__ == "__main__":
    sys.exit(main())
