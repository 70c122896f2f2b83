from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vire_edge.training.evaluation.intervals import compare, intervals, mcnemar
from vire_edge.training.evaluation.metrics import measure

LABELS = np.random.default_rng(3).integers(0, 7, 900)


def readings(right: float, seed: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    rng = np.random.default_rng(seed)
    return np.where(rng.random(len(LABELS)) < right, LABELS, rng.integers(0, 7, len(LABELS)))


def confusion_of(read: np.ndarray[tuple[int], np.dtype[np.int64]]) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    return np.bincount(LABELS * 7 + read, minlength=49).reshape(7, 7)


def test_interval_is_that_of_images_drawn_with_replacement() -> None:
    read, rng = readings(0.6, 1), np.random.default_rng(9)
    drawn = [rng.integers(0, len(LABELS), len(LABELS)) for _ in range(800)]
    slow = [measure(np.eye(7)[read[some]], LABELS[some]) for some in drawn]
    fast = intervals(confusion_of(read))
    for interval, values in (
        (fast.accuracy, [some.accuracy for some in slow]),
        (fast.macro_f1, [some.macro_f1 for some in slow]),
        (fast.recall[1], [some.recall[1] for some in slow]),
    ):
        low, high = np.quantile(values, [0.025, 0.975])
        assert interval.low == pytest.approx(low, abs=0.012)
        assert interval.high == pytest.approx(high, abs=0.012)


def test_same_counts_give_the_same_interval() -> None:
    assert intervals(confusion_of(readings(0.6, 1))) == intervals(confusion_of(readings(0.6, 1)))


@settings(max_examples=15, deadline=None)  # 2,000 resamples each
@given(st.lists(st.integers(0, 30), min_size=49, max_size=49).filter(any))
def test_every_interval_holds_its_figure_and_stays_inside_0_and_1(cells: list[int]) -> None:
    confusion = np.array(cells).reshape(7, 7)
    found = intervals(confusion)
    for interval in (found.accuracy, found.macro_f1, *found.recall):
        assert 0 <= interval.low <= interval.high <= 1
    accuracy = np.trace(confusion) / confusion.sum()
    assert found.accuracy.low - 1e-9 <= accuracy <= found.accuracy.high + 1e-9


def test_a_class_that_never_occurs_has_no_recall() -> None:
    confusion = np.diag([5, 0, 5, 5, 5, 5, 5])
    recall = intervals(confusion).recall
    assert (recall[1].low, recall[1].high) == (0, 0)
    assert (recall[0].low, recall[0].high) == (1, 1)


def test_paired_difference_knows_more_than_two_intervals() -> None:
    first = readings(0.6, 1)
    # The same readings, but for 40 of those that were wrong.
    second = first.copy()
    wrong = np.flatnonzero(first != LABELS)[:40]
    second[wrong] = LABELS[wrong]
    alone = [intervals(confusion_of(read)).accuracy for read in (first, second)]
    assert alone[1].low < alone[0].high, "apart from each other, the two figures might be equal"
    lead = compare(LABELS, second, first)
    assert (lead.gained, lead.lost) == (40, 0)
    assert lead.accuracy == pytest.approx(40 / 900)
    assert lead.accuracy_interval.low > 0
    assert lead.macro_f1_interval.low > 0
    assert lead.beyond_chance


def test_paired_interval_is_that_of_images_drawn_with_replacement() -> None:
    first, second, rng = readings(0.6, 1), readings(0.65, 2), np.random.default_rng(9)
    slow = []
    for _ in range(800):
        some = rng.integers(0, len(LABELS), len(LABELS))
        ours, theirs = (measure(np.eye(7)[read[some]], LABELS[some]) for read in (second, first))
        slow.append((ours.accuracy - theirs.accuracy, ours.macro_f1 - theirs.macro_f1))
    lead = compare(LABELS, second, first)
    low, high = np.quantile(slow, [0.025, 0.975], axis=0)
    for index, interval in enumerate((lead.accuracy_interval, lead.macro_f1_interval)):
        assert interval.low == pytest.approx(low[index], abs=0.008)
        assert interval.high == pytest.approx(high[index], abs=0.008)


def test_two_equally_good_models_have_no_lead_beyond_chance() -> None:
    lead = compare(LABELS, readings(0.6, 1), readings(0.6, 2))
    assert lead.accuracy_interval.low < 0 < lead.accuracy_interval.high
    assert not lead.beyond_chance
    back = compare(LABELS, readings(0.6, 2), readings(0.6, 1))
    assert (back.gained, back.lost, back.p_value) == (lead.lost, lead.gained, lead.p_value)
    assert back.accuracy == pytest.approx(-lead.accuracy)


@pytest.mark.parametrize(
    ("gained", "lost", "p_value"),
    # Twice the tail of a binomial distribution of a half: 10 of 10 heads, 8 of 10, and no coin at all.
    [(10, 0, 2 / 1024), (8, 2, 2 * (1 + 10 + 45) / 1024), (2, 8, 2 * (1 + 10 + 45) / 1024), (5, 5, 1.0), (0, 0, 1.0)],
)
def test_mcnemar_is_exact(gained: int, lost: int, p_value: float) -> None:
    assert mcnemar(gained, lost) == pytest.approx(p_value)


def test_mcnemar_of_thousands_of_images_is_finite() -> None:
    assert 0 < mcnemar(1500, 1300) < 0.001
