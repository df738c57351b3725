"""What a failure handler decides (SEMANTICS 2.6)."""

from hypothesis import given
from hypothesis import strategies as st

from torcd.core.failure_handlers import find_rule, judge_failure
from torcd.protocol.specification import FailureHandlerRule, FailureHandlerSpec

RULES = st.lists(
    st.builds(
        FailureHandlerRule,
        exit_codes=st.lists(st.integers(0, 5), max_size=3),
        match_all_exit_codes=st.booleans(),
        max_retries=st.integers(0, 4),
    ),
    min_size=1,
    max_size=4,
)


def handler(*rules: FailureHandlerRule) -> FailureHandlerSpec:
    return FailureHandlerSpec(name="h", rules=list(rules))


def test_the_first_rule_for_an_exit_code_is_the_one() -> None:
    special = FailureHandlerRule(exit_codes=[10, 11], max_retries=1)
    rest = FailureHandlerRule(match_all_exit_codes=True, max_retries=2)
    assert find_rule(handler(special, rest), 11) is special
    assert find_rule(handler(special, rest), 1) is rest
    assert find_rule(handler(special), 1) is None


def test_why_a_failure_is_retried_or_not() -> None:
    rule = FailureHandlerRule(exit_codes=[3], max_retries=2)
    one = handler(rule)
    verdicts = [judge_failure(one, 3, retries, recovery_failed=False).why for retries in range(4)]
    assert verdicts == ["retry", "retry", "exhausted", "exhausted"]
    assert judge_failure(one, 4, 0, recovery_failed=False).why == "no_rule"
    assert judge_failure(one, 3, 0, recovery_failed=True).why == "recovery_failed"


def test_a_rule_without_retries_excepts_codes_from_a_later_one() -> None:
    both = handler(
        FailureHandlerRule(exit_codes=[2], max_retries=0), FailureHandlerRule(match_all_exit_codes=True, max_retries=9)
    )
    assert not judge_failure(both, 2, 0, recovery_failed=False).is_retry
    assert judge_failure(both, 1, 0, recovery_failed=False).is_retry


@given(RULES, st.lists(st.integers(0, 5), min_size=20, max_size=20))
def test_no_job_is_retried_for_ever(rules: list[FailureHandlerRule], codes: list[int]) -> None:
    """Whatever codes come in turn, there are never more retries than the most generous rule has."""
    retries = 0
    for code in codes:
        if not judge_failure(handler(*rules), code, retries, recovery_failed=False).is_retry:
            break
        retries += 1
    assert retries <= max(rule.max_retries for rule in rules)


@given(RULES, st.integers(0, 5), st.integers(0, 5))
def test_a_verdict_names_the_rule_that_is_for_the_code(
    rules: list[FailureHandlerRule], code: int, retries: int
) -> None:
    verdict = judge_failure(handler(*rules), code, retries, recovery_failed=False)
    matching = [rule for rule in rules if rule.match_all_exit_codes or code in rule.exit_codes]
    assert verdict.rule is (matching[0] if matching else None)
    assert verdict.is_retry == (bool(matching) and retries < matching[0].max_retries)
