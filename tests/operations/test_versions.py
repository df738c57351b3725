"""What is told of the past of files and user data: every version, the newest first, in pages."""

from collections.abc import Callable

import pytest
from builders import job
from workbench import Workbench

from torcd.protocol.model import FileVersion, UserDataVersion
from torcd.protocol.requests import Initialize, Reinit
from torcd.protocol.specification import UserDataSpec
from torcd.storage.histories import FILE_HISTORY, USER_DATA_HISTORY
from torcd.storage.lists import load_page


@pytest.fixture
def bench(make_bench: Callable[..., Workbench]) -> Workbench:
    """A job that takes a file and a user data."""
    return make_bench(
        [job("a", input_files=["x"], input_user_data=["given"])], (), [UserDataSpec(name="given", data=1)]
    )


def file_versions(bench: Workbench, cursor: int = 0, limit: int = 10) -> tuple[list[FileVersion], int | None]:
    return load_page(bench.db, FILE_HISTORY, (1, bench.id("x", "file")), (), cursor, limit)


def values(bench: Workbench, cursor: int = 0, limit: int = 10) -> tuple[list[UserDataVersion], int | None]:
    return load_page(bench.db, USER_DATA_HISTORY, (1, bench.id("given", "user_data")), (), cursor, limit)


def test_the_record_of_a_file_comes_first_then_those_that_it_replaced(bench: Workbench) -> None:
    """SEMANTICS 4.7"""
    assert file_versions(bench) == ([], None)
    bench.disk.write("x", size=1)
    bench.operate(Initialize)
    bench.run_all()
    bench.disk.write("x", size=2)
    bench.operate(Reinit)
    bench.disk.delete("x")
    bench.operate(Reinit, force=True)
    found, cursor = file_versions(bench)
    assert cursor is None
    assert [(each.recorded, each.size) for each in found] == [("absent", None), ("present", 2), ("present", 1)]
    assert found[0].mtime_ns is None
    assert found[1].mtime_ns is not None
    versions = [each.version for each in found]
    assert versions == sorted(versions, reverse=True)
    assert {each.file_id for each in found} == {bench.id("x", "file")}


def test_every_value_is_there_also_that_of_the_specification(bench: Workbench) -> None:
    """SEMANTICS 4.3, 4.7"""
    bench.set_value("given", {"most": 3})
    bench.set_value("given", None)
    found, _ = values(bench)
    assert [(each.version, each.data, each.is_set) for each in found] == [
        (2, None, True),
        (1, {"most": 3}, True),
        (0, 1, True),
    ]


def test_pages_go_from_the_newest_to_the_oldest(bench: Workbench) -> None:
    for number in range(2, 6):
        bench.set_value("given", number)
    seen, cursor = [], 0
    while cursor is not None:
        page, cursor = values(bench, cursor, limit=2)
        assert len(page) <= 2
        seen += [each.data for each in page]
    assert seen == [5, 4, 3, 2, 1]
