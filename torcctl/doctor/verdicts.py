"""What a check says."""

from typing import Literal

import msgspec

Verdict = Literal["ok", "warning", "problem"]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One line of doctor: what was looked at, how it is, what that means, and what to do unless it is well."""

    check: str
    verdict: Verdict
    detail: str
    advice: str = ""


def ok(check: str, detail: str) -> Check:
    """It is well."""
    return Check(check=check, verdict="ok", detail=detail)


def warning(check: str, detail: str, advice: str) -> Check:
    """It may hurt."""
    return Check(check=check, verdict="warning", detail=detail, advice=advice)


def problem(check: str, detail: str, advice: str) -> Check:
    """It hurts, or will."""
    return Check(check=check, verdict="problem", detail=detail, advice=advice)
