"""Whether a job was larger than its worker, whoever started that."""

import subprocess
import sys

import pytest

from torcctl.worker import own_peak
from torcctl.worker.own_peak import SLACK_KIB, OwnPeak, read_own_peak_kib

WORKER = """
import resource
from torcctl.worker.own_peak import read_own_peak_kib
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, read_own_peak_kib())
"""
STARTER = f"""
import subprocess, sys
large = bytearray(200 << 20)
subprocess.run([sys.executable, "-c", {WORKER!r}], check=True)
"""


def test_the_size_of_whoever_started_the_worker_does_not_count() -> None:
    """SEMANTICS 8.5"""
    ran = subprocess.run([sys.executable, "-c", STARTER], capture_output=True, text=True, check=True)
    of_the_kernel, own = map(int, ran.stdout.split())
    assert of_the_kernel > 200 << 10
    assert 0 < own < 100 << 10


def test_it_is_looked_up_again_when_a_job_seems_to_be_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    peak, own = OwnPeak(), read_own_peak_kib()
    assert not peak.is_exceeded_by(own)
    assert peak.is_exceeded_by(read_own_peak_kib() + 2 * SLACK_KIB)
    monkeypatch.setattr(own_peak, "read_own_peak_kib", lambda: own + 10_000_000)
    assert not peak.is_exceeded_by(own + 1_000_000)
