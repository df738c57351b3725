"""What the daemon has not acknowledged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torcctl.worker.ledger import MAX_ENTRIES, MAX_OUTPUTS, Ledger
from torcd.protocol.worker_requests import AttemptEnd, AttemptRef, OutputSeen


def ref(job_id: int) -> AttemptRef:
    return AttemptRef(job_id=job_id, attempt_id=1)


def end(job_id: int, outputs: int = 0) -> AttemptEnd:
    return AttemptEnd(
        job_id=job_id, attempt_id=1, return_code=0, started_at_ms=1, ended_at_ms=2, exec_time_s=0.1,
        outputs=[OutputSeen(file_id=number) for number in range(outputs)],
    )  # fmt: skip


def test_what_was_sent_is_kept_until_it_is_acknowledged() -> None:
    ledger = Ledger()
    ledger.add_started(ref(1), 0.0)
    ledger.add_ended(end(1))
    ledger.add_returned(ref(2))
    batch = ledger.take()
    assert (batch.started, batch.ended, batch.returned) == ([ref(1)], [end(1)], [ref(2)])
    assert not ledger.is_empty
    ledger.settle()
    assert ledger.is_empty


def test_after_a_loss_the_same_entries_are_sent_again_before_newer_ones() -> None:
    """SEMANTICS 8.4"""
    ledger = Ledger()
    ledger.add_started(ref(1), 0.0)
    ledger.add_ended(end(1))
    lost = ledger.take()
    ledger.add_ended(end(2))
    ledger.restore(5.0)
    assert ledger.attempts() == [ref(1), ref(2)]
    again = ledger.take()
    assert again.started == lost.started
    assert again.ended == [*lost.ended, end(2)]


def test_a_loss_with_nothing_on_its_way_changes_nothing() -> None:
    ledger = Ledger()
    ledger.restore(1.0)
    assert ledger.is_empty


@given(sizes=st.lists(st.integers(0, 3000), max_size=30))
def test_long_reports_are_split_and_nothing_is_lost(sizes: list[int]) -> None:
    ledger = Ledger()
    for job_id, size in enumerate(sizes):
        ledger.add_ended(end(job_id, size))
    seen: list[int] = []
    while not ledger.is_empty:
        batch = ledger.take()
        assert sum(len(one.outputs) for one in batch.ended[:-1]) < MAX_OUTPUTS
        assert len(batch.ended) <= MAX_ENTRIES
        seen += [one.job_id for one in batch.ended]
        ledger.settle()
    assert seen == list(range(len(sizes)))


def test_a_forgotten_attempt_is_not_reported() -> None:
    ledger = Ledger()
    ledger.add_started(ref(1), 0.0)
    ledger.add_ended(end(1))
    ledger.forget((1, 1))
    assert ledger.is_empty


@pytest.mark.parametrize("entries", [MAX_ENTRIES + 1])
def test_a_report_holds_a_bounded_number_of_attempts(entries: int) -> None:
    ledger = Ledger()
    for job_id in range(entries):
        ledger.add_ended(end(job_id))
    assert len(ledger.take().ended) == MAX_ENTRIES
    ledger.settle()
    assert len(ledger.take().ended) == 1
