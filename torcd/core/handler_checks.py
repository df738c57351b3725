"""Checks what a specification says of failure handlers."""

from torcd.core.problems import Problems
from torcd.core.requirements import check_count, check_name
from torcd.protocol.specification import FailureHandlerRule, FailureHandlerSpec

LARGEST_CODE = 255
"""A process ends with one byte; a signal's number comes on top of 128."""


def check_handlers(handlers: list[FailureHandlerSpec], problems: Problems) -> None:
    """Notes handlers and rules that could not be meant."""
    names: set[str] = set()
    for index, handler in enumerate(handlers):
        where = f"failure_handlers[{index}]"
        check_name(where, handler.name, names, "failure handlers", problems)
        if not handler.rules:
            problems.add(f"{where}.rules", None, "a failure handler needs a rule")
        is_covered = False
        for place, rule in enumerate(handler.rules):
            if is_covered:
                message = "an earlier rule is for all exit codes, so this one would never be used; put it before that"
                problems.add(f"{where}.rules[{place}]", None, message)
            _check_rule(f"{where}.rules[{place}]", rule, problems)
            is_covered |= rule.match_all_exit_codes


def _check_rule(where: str, rule: FailureHandlerRule, problems: Problems) -> None:
    if not rule.exit_codes and not rule.match_all_exit_codes:
        problems.add(f"{where}.exit_codes", None, "a rule needs exit_codes, or match_all_exit_codes: true")
    for place, code in enumerate(rule.exit_codes):
        if not 0 <= code <= LARGEST_CODE:
            problems.add(f"{where}.exit_codes[{place}]", code, f"an exit code is between 0 and {LARGEST_CODE}")
    check_count(f"{where}.max_retries", rule.max_retries, 0, problems)
    script = rule.recovery_script
    if script is not None and (not script.strip() or "\0" in script):
        problems.add(f"{where}.recovery_script", script, "a script must not be empty and must not hold NUL")
