"""Runs the k-mer pipeline, mutates one genome, and checks that exactly what depends on it runs again.

demo.py [DIRECTORY] (default build/demo; it is emptied). Everything happens there, with a daemon of its own
that is stopped at the end. Exits with 1 on any surprise.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PARTS = ["genomes.py", "count_kmers.py", "compare.py", "matrix.py", "tree.py", "plot.py", "workflow.yaml"]
MUTATED = "basalt_2"
OTHERS = ["amber_1", "amber_2", "basalt_1", "coral_1", "coral_2"]
JOBS = 24
PAIRS = [sorted([MUTATED, other]) for other in OTHERS]
AFFECTED = {f"count_{MUTATED}", *(f"compare_{one}_{other}" for one, other in PAIRS), "matrix", "tree", "plot"}


class Surprise(Exception):
    """Something is not as this demonstration says it is."""


def expect(what: str, seen: object, wanted: object) -> None:
    if seen != wanted:
        raise Surprise(f"{what}: expected {wanted}, got {seen}")


class Demo:
    """A directory with a copy of the pipeline, and torcctl with a daemon for it alone."""

    def __init__(self, directory: Path, runtime: Path) -> None:
        self.directory = directory
        self.picture = directory / "kmers.png"
        self._python = os.environ.get("PYTHON", sys.executable)
        beside = Path(sys.executable).with_name("torcctl")
        self._torcctl = str(beside) if beside.exists() else shutil.which("torcctl") or "torcctl"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TORC")}
        self._environ = {
            **inherited,
            "PYTHON": self._python,
            "TORCD_DATABASE": str(directory / "state" / "torc.db"),
            "TORCD_SOCKET": str(runtime / "torcd.sock"),
            "XDG_STATE_HOME": str(directory / "state"),
            "XDG_CONFIG_HOME": str(directory / "config"),
        }

    def prepare(self) -> None:
        """Empties the directory and makes the genomes."""
        has_matplotlib = subprocess.run([self._python, "-c", "import matplotlib"], capture_output=True, check=False)
        if has_matplotlib.returncode:
            raise Surprise(f"{self._python} has no matplotlib: pip install 'torcd[demo]' or set PYTHON")
        if self.directory.exists() and not (self.directory / "workflow.yaml").exists():
            raise Surprise(f"{self.directory} exists and is no earlier demonstration: remove it, or name another")
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        for part in PARTS:
            shutil.copy(HERE / part, self.directory)
        self.python("genomes.py", "generate", "genomes")

    def python(self, *arguments: str) -> None:
        subprocess.run([self._python, *arguments], cwd=self.directory, check=True)

    def torcctl(self, *arguments: str) -> None:
        """Runs a command as a user would, and shows it."""
        print("\n$ torcctl", *arguments, flush=True)
        ran = subprocess.run([self._torcctl, *arguments], cwd=self.directory, env=self._environ, check=False)
        expect(f"exit code of torcctl {' '.join(arguments)}", ran.returncode, 0)

    def ask(self, *arguments: str) -> Any:
        """The JSON document that a command prints."""
        ran = subprocess.run(
            [self._torcctl, "-f", "json", *arguments],
            cwd=self.directory,
            env=self._environ,
            check=False,
            stdout=subprocess.PIPE,
            text=True,
        )
        expect(f"exit code of torcctl -f json {' '.join(arguments)}", ran.returncode, 0)
        return json.loads(ran.stdout)

    def picture_digest(self) -> str:
        return hashlib.sha256(self.picture.read_bytes()).hexdigest()

    def stop(self) -> None:
        subprocess.run(
            [self._torcctl, "daemon", "stop"],
            cwd=self.directory,
            env=self._environ,
            check=False,
            capture_output=True,
        )


def check_run(demo: Demo, workflow_id: str, run_id: int) -> set[str]:
    """Checks that all jobs are completed; the names of those that ran in this run."""
    status = demo.ask("workflows", "status", workflow_id)
    expect("jobs by status", status["counts"], {"completed": JOBS})
    expect("run_id", status["run_id"], run_id)
    results = demo.ask("results", "list", workflow_id)["results"]
    expect("number of results", len(results), JOBS)
    return {result["job_name"] for result in results if result["run_id"] == run_id}


def play(demo: Demo) -> None:
    """The whole demonstration."""
    demo.prepare()
    demo.torcctl("run", "workflow.yaml")
    (workflow,) = demo.ask("workflows", "list")["workflows"]
    workflow_id, first_run = str(workflow["workflow_id"]), workflow["run_id"]
    expect("jobs run at first", len(check_run(demo, workflow_id, first_run)), JOBS)
    before = demo.picture_digest()
    print(f"\nthe picture: {demo.picture}")

    demo.torcctl("workflows", "reinit", workflow_id, "--dry-run")
    expect(
        "jobs to reset without a change",
        demo.ask("workflows", "reinit", workflow_id, "--dry-run")["count"],
        0,
    )

    print(f"\n$ python genomes.py mutate genomes/{MUTATED}.fa")
    demo.python("genomes.py", "mutate", f"genomes/{MUTATED}.fa")
    demo.torcctl("workflows", "reinit", workflow_id, "--dry-run", "--explain")
    plan = demo.ask("workflows", "reinit", workflow_id, "--dry-run")
    expect("jobs the dry run names", {job["name"] for job in plan["jobs"]}, AFFECTED)
    demo.torcctl("workflows", "reinit", workflow_id, "--expect", plan["plan_digest"])
    demo.torcctl("run", workflow_id)

    rerun = check_run(demo, workflow_id, first_run + 1)
    expect("jobs that were rerun", rerun, AFFECTED)
    if demo.picture_digest() == before:
        raise Surprise("the picture is the same as before")
    print(f"\n{len(rerun)} jobs were rerun, {JOBS - len(rerun)} were spared; the new picture: {demo.picture}")


def main() -> int:
    directory = Path(sys.argv[1] if len(sys.argv) > 1 else "build/demo").resolve()
    with tempfile.TemporaryDirectory(prefix="torc-") as runtime:  # a socket's path may have 107 bytes only
        demo = Demo(directory, Path(runtime))
        try:
            play(demo)
        except Surprise as surprise:
            print(f"demo: {surprise}", file=sys.stderr)
            return 1
        finally:
            if directory.exists():
                demo.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
