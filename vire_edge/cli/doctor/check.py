"""One result of the doctor: what was looked at, how it is, and what to do about it."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Status(enum.StrEnum):
    """How a thing is."""

    OK = "ok"
    WARNING = "warning"
    """It works, but somebody should look at it."""
    FAILURE = "failure"
    """The daemon cannot do its work."""
    SKIPPED = "skipped"
    """It could not be looked at, or does not apply here."""


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one look."""

    name: str
    """What was looked at: `camera hall`, `broker login`."""
    status: Status
    detail: str
    """The value that was found."""
    remedy: str = ""
    """What to do; empty when nothing needs to be done."""


def ok(name: str, detail: str) -> Check:
    """It is as it should be."""
    return Check(name, Status.OK, detail)


def warning(name: str, detail: str, remedy: str) -> Check:
    """It works for now."""
    return Check(name, Status.WARNING, detail, remedy)


def failure(name: str, detail: str, remedy: str) -> Check:
    """It does not work."""
    return Check(name, Status.FAILURE, detail, remedy)


def skipped(name: str, detail: str, remedy: str = "") -> Check:
    """Nothing can be said."""
    return Check(name, Status.SKIPPED, detail, remedy)


def failed_with(name: str, error: Exception) -> Check:
    """Turn one of our own errors into a result: its message is "what is wrong; the remedy"."""
    detail, _, remedy = str(error).partition("; ")
    return failure(name, detail, remedy)
