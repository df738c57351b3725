"""What a failure handler decides: whether a job that failed is tried again at once, and after which script.

A failure is an attempt that ended by itself and left its job failed: one that was stopped, or whose worker was lost, is
none (SEMANTICS §2). What is counted is given.
"""

import msgspec

from torcd.protocol.specification import FailureHandlerRule, FailureHandlerSpec


class Verdict(msgspec.Struct, frozen=True):
    """Whether a failed job is retried: `why` says it."""

    why: str
    """`retry`, or why not: `recovery_failed`, `no_rule` (none is for this exit code) or `exhausted`."""
    rule: FailureHandlerRule | None = None
    """The rule that is for this exit code."""

    @property
    def is_retry(self) -> bool:
        """Whether the job is retried."""
        return self.why == "retry"


def find_rule(handler: FailureHandlerSpec, return_code: int) -> FailureHandlerRule | None:
    """The first rule for an exit code, that of all codes included.

    A job that ended with 0 and without an output of its own has failed, too.
    """
    for rule in handler.rules:
        if rule.match_all_exit_codes or return_code in rule.exit_codes:
            return rule
    return None


def judge_failure(handler: FailureHandlerSpec, return_code: int, retries: int, *, recovery_failed: bool) -> Verdict:
    """What becomes of a job that failed after so many retries.

    All retries since an operation last touched the job count, whichever rules they followed: so the number of attempts
    is never more than one above the largest `max_retries`, whatever codes come in turn.
    """
    if recovery_failed:  # the return code is that of the script
        return Verdict("recovery_failed")
    rule = find_rule(handler, return_code)
    if rule is None:
        return Verdict("no_rule")
    return Verdict("retry" if retries < rule.max_retries else "exhausted", rule)
