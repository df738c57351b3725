"""A fake daemon and torcctl run against it, in this process."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_outcome import Cli, Outcome
from cli_server import FakeDaemon

from torcctl.app import run


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    fake = FakeDaemon(tmp_path / "fake.sock")
    yield fake
    fake.stop()


@pytest.fixture
def cli(
    daemon: FakeDaemon,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> Cli:
    """Runs a command line against the fake daemon; keywords add to the environment."""
    monkeypatch.chdir(tmp_path)

    def call(*argv: str, **environ: str) -> Outcome:
        base = {"HOME": str(tmp_path), "TORC_URL": daemon.url}
        code = run(list(argv), {name: value for name, value in {**base, **environ}.items() if value})
        captured = capfdbinary.readouterr()
        return Outcome(code, captured.out.decode(), captured.err.decode())

    return call
