"""What is said of an active task to a request that meets it."""

from torcd.core.conflicts import describe_active, describe_differing


def test_an_active_task_is_described_by_what_was_asked_who_asked_and_when() -> None:
    """SEMANTICS 6.3"""
    params = {"force": True, "stop_live": False, "detect": "content", "status": None, "return_code": 0, "jobs": []}
    told = describe_active("reinit", params, requested_by="ann@node", at="2026-01-02T03:04:05Z")
    assert (
        told == "reinit with force=true, detect=content, return_code=0, asked for by ann@node at 2026-01-02T03:04:05Z"
    )
    told = describe_active("undo", {}, requested_by="", at="2026-01-02T03:04:05Z")
    assert told == "undo, asked for by an unnamed client at 2026-01-02T03:04:05Z"


def test_parameters_that_differ_are_told_with_both_values_and_long_lists_shortened() -> None:
    """SEMANTICS 6.3"""
    differing = {"force": [False, True], "jobs": [list(range(1, 9)), [4]], "status": [None, "failed"]}
    assert describe_differing(differing) == (
        "force (false there, true here), jobs ([1, 2, 3, 4, 5 and 3 more] there, [4] here), "
        "status (none there, failed here)"
    )
