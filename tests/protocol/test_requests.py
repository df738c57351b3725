"""When two requests are the same one."""

import pytest

from torcd.protocol.requests import AcceptJobs, ResetJobs


@pytest.mark.parametrize("jobs", [[2, 1], [1, 2, 1]])
def test_jobs_may_be_named_in_any_order_and_twice(jobs: list[int]) -> None:
    """SEMANTICS 6.2: normalised parameters"""
    assert ResetJobs(workflow_id=7, jobs=jobs).effect() == ResetJobs(workflow_id=7, jobs=[1, 2]).effect()
    accepted = AcceptJobs(workflow_id=7, jobs=jobs, reason="seen")
    assert accepted.effect() == AcceptJobs(workflow_id=7, jobs=[1, 2], reason="seen").effect()
