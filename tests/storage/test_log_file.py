"""What is left of a write-ahead log, told from its bytes."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from torcd.storage.log_file import Log, count_lost, read_index, read_log


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "torc.db"


@pytest.fixture
def sql(path: Path) -> Iterator[sqlite3.Connection]:
    """A database with a log of twelve transactions, several pages each."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE item (x)")
        for _ in range(11):
            connection.execute("INSERT INTO item VALUES (randomblob(9000))")
        yield connection


@pytest.fixture
def log(sql: sqlite3.Connection, path: Path) -> Path:
    return path.with_name("torc.db-wal")


@pytest.fixture
def index(sql: sqlite3.Connection, path: Path) -> Path:
    return path.with_name("torc.db-shm")


def frames_of(sql: sqlite3.Connection) -> int:
    """How many frames SQLite itself counts."""
    return sql.execute("PRAGMA wal_checkpoint").fetchone()[1]


def flip(log: Path, copy: Path, place: int) -> Path:
    data = bytearray(log.read_bytes())
    data[place] ^= 0x10
    copy.write_bytes(data)
    return copy


def test_a_whole_log_has_all_that_the_index_counts(sql: sqlite3.Connection, log: Path, index: Path) -> None:
    found, counted = read_log(log), read_index(index)
    assert counted is not None
    assert (counted.copied, counted.salt) == (0, found.salt)
    assert found.committed == counted.committed == frames_of(sql) > 30
    assert found.broken_commits == 0
    assert count_lost(found, counted) is None
    assert count_lost(found, None) is None


@pytest.mark.parametrize("order", ["little", "big"])
def test_checksums_are_followed_in_either_byte_order(log: Path, tmp_path: Path, order: str) -> None:
    """SQLite writes those of its own machine; a log may come from another."""
    data = bytearray(log.read_bytes())
    size = 4096 + 24

    def checksum(part: bytes, state: tuple[int, int]) -> tuple[int, int]:
        s, t = state
        for place in range(0, len(part), 8):
            s = s + int.from_bytes(part[place : place + 4], order) + t & 0xFFFFFFFF  # type: ignore[arg-type]
            t = t + int.from_bytes(part[place + 4 : place + 8], order) + s & 0xFFFFFFFF  # type: ignore[arg-type]
        return s, t

    data[3] = 0x82 | (order == "big")
    state = checksum(data[:24], (0, 0))
    data[24:32] = b"".join(word.to_bytes(4, "big") for word in state)
    for frame in range(32, len(data), size):
        state = checksum(data[frame : frame + 8] + data[frame + 24 : frame + size], state)
        data[frame + 16 : frame + 24] = b"".join(word.to_bytes(4, "big") for word in state)
    other = tmp_path / "other"
    other.write_bytes(data)
    assert read_log(other).committed == read_log(log).committed


def test_a_flipped_byte_ends_what_is_valid(log: Path, index: Path, tmp_path: Path) -> None:
    whole, counted = read_log(log), read_index(index)
    for frame in (1, 10, whole.committed - 1):
        found = read_log(flip(log, tmp_path / "copy", 32 + frame * 4120 + 2000))
        assert found.committed <= frame
        lost = count_lost(found, counted)
        assert lost == f"of {whole.committed} pages that were committed to it, {found.committed} can be read"


def test_without_an_index_only_one_transaction_may_be_broken(log: Path, tmp_path: Path) -> None:
    """That is what a power cut leaves behind: the one that was being written."""
    whole = read_log(log)
    last = read_log(flip(log, tmp_path / "copy", 32 + (whole.committed - 1) * 4120 + 2000))
    assert (last.broken_commits, count_lost(last, None)) == (1, None)
    early = read_log(flip(log, tmp_path / "copy", 32 + 2000))
    assert early.broken_commits == 12
    assert count_lost(early, None) == "after 0 pages it is broken, and 12 transactions follow"


@pytest.mark.parametrize("place", [0, 5, 9, 17, 25])
def test_a_damaged_beginning_makes_it_unreadable(log: Path, index: Path, tmp_path: Path, place: int) -> None:
    found = read_log(flip(log, tmp_path / "copy", place))
    assert not found.is_readable
    assert count_lost(found, None) == "its beginning cannot be read"
    assert str(count_lost(found, read_index(index))).endswith(", 0 can be read")


@pytest.mark.parametrize("length", [0, 20, 32, 40, 5000, -4120, -1])
def test_a_truncated_log_lost_what_the_index_counts(log: Path, index: Path, tmp_path: Path, length: int) -> None:
    cut = tmp_path / "cut"
    cut.write_bytes(log.read_bytes()[:length])
    assert "pages that were committed to it" in str(count_lost(read_log(cut), read_index(index)))


def test_garbage_is_no_log(tmp_path: Path) -> None:
    (tmp_path / "garbage").write_bytes(b"no log, but long enough to be one" * 1000)
    assert not read_log(tmp_path / "garbage").is_readable


def test_a_log_that_a_power_cut_left_empty_or_zero_held_nothing(tmp_path: Path) -> None:
    for size in (0, 32, 5000):
        (tmp_path / "zeros").write_bytes(bytes(size))
        assert read_log(tmp_path / "zeros") == Log()
    assert read_log(tmp_path / "missing") == Log()


def test_what_was_copied_into_the_database_is_not_missed(sql: sqlite3.Connection, index: Path) -> None:
    frames_of(sql)  # copies all of it
    counted = read_index(index)
    assert counted is not None
    assert counted.copied == counted.committed
    assert count_lost(Log(), counted) is None


def test_a_new_generation_of_the_log_hides_the_older_one(sql: sqlite3.Connection, log: Path, index: Path) -> None:
    frames_of(sql)
    sql.execute("INSERT INTO item VALUES (1)")
    found = read_log(log)
    assert found.committed == 1
    assert found.broken_commits == 0, "the older transactions are still there, and do not count"
    assert count_lost(found, read_index(index)) is None


def test_an_index_that_was_being_written_does_not_count(index: Path, tmp_path: Path) -> None:
    for place in (20, 70):  # its two copies differ
        assert read_index(flip(index, tmp_path / "copy", place)) is None
    (tmp_path / "copy").write_bytes(index.read_bytes()[:90])
    assert read_index(tmp_path / "copy") is None
    assert read_index(tmp_path / "missing") is None
