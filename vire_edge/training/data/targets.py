"""What is to be read in a face where ten people's votes stand beside its label."""

from __future__ import annotations

import enum


class VotesAs(enum.StrEnum):
    """How FER+'s votes are taken; the evaluation keeps its labels in any case."""

    MIXED = "mixed"
    """The recipe says what share of the target they make; the label has the rest."""
    SOFT = "soft"
    """They alone are the target, in all epochs."""
    MAJORITY = "majority"
    """The class that more than half of them name replaces the label."""
