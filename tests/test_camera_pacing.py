from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vire_edge.camera.pacing import Backoff, RateLimit, Timeline
from vire_edge.domain import Instant

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> Instant:
    return Instant(1000.0 + seconds, START + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("source_fps", "limit", "expected"), [(30, 10, 10), (15, 10, 10), (10, 10, 10), (12.5, 10, 10), (5, 10, 5)]
)
def test_the_rate_is_the_lower_of_source_and_limit(source_fps: float, limit: float, expected: float) -> None:
    rate = RateLimit(limit)
    passed = sum(rate.lets_through(index / source_fps) for index in range(round(60 * source_fps)))
    assert passed == pytest.approx(60 * expected, rel=0.01, abs=1)


def test_a_camera_that_runs_at_the_limit_loses_nothing_to_jitter() -> None:
    rate = RateLimit(10)
    assert all(rate.lets_through(index / 10 + (0.008 if index % 2 else -0.0)) for index in range(100))


@given(st.lists(st.floats(0, 0.5), min_size=2, max_size=40), st.floats(1, 30))
def test_over_any_time_at_most_one_more_than_the_limit(steps: list[float], fps: float) -> None:
    rate, now, passed = RateLimit(fps), 0.0, []
    for step in steps:
        now += step
        if rate.lets_through(now):
            passed.append(now)
    for first in range(len(passed)):
        for last in range(first + 1, len(passed)):
            assert (last - first) <= (passed[last] - passed[first]) * fps + 1.1 + 1e-6


@pytest.mark.parametrize(("first", "then"), [(10, 2), (2, 10), (10, 3), (4, 7.5)])
def test_a_changed_rate_holds_at_once_and_keeps_its_grid(first: float, then: float) -> None:
    rate, passed = RateLimit(first), []
    for index in range(30 * 60):
        rate.change(then if index >= 30 * 30 else first)  # the rate that holds already moves nothing
        if rate.lets_through(index / 30):
            passed.append(index / 30)
    before, after = [at for at in passed if at < 30], [at for at in passed if at >= 30]
    assert len(before) == pytest.approx(30 * first, abs=1)
    assert len(after) == pytest.approx(30 * then, abs=1)
    assert after[0] - 30 <= 1 / then + 1 / 30


def test_a_faster_rate_takes_the_next_picture() -> None:
    rate = RateLimit(2)
    assert rate.lets_through(0.0)
    assert not rate.lets_through(0.25)
    rate.change(10)
    assert rate.lets_through(0.28)
    assert not rate.lets_through(0.33)
    assert rate.lets_through(0.38)


@example([(0.0, 1.0), (0.1328125, 15.0), (0.015625, 20.0), (0.015625, 19.0)])
@given(st.lists(st.tuples(st.floats(0, 0.5), st.floats(1, 30)), min_size=2, max_size=40))
def test_however_the_rate_changes_the_fastest_is_not_exceeded(steps: list[tuple[float, float]]) -> None:
    rate, now, passed = RateLimit(steps[0][1]), 0.0, []
    for step, fps in steps:
        now += step
        rate.change(fps)
        if rate.lets_through(now):
            passed.append(now)
    fastest = max(fps for _, fps in steps)
    for first in range(len(passed)):
        for last in range(first + 1, len(passed)):
            assert (last - first) <= (passed[last] - passed[first]) * fastest + 1.1 + 1e-6


def test_media_time_lies_on_the_real_clock_from_the_first_picture_on() -> None:
    timeline = Timeline(10)
    assert timeline.instant(timeline.media_seconds(0.0), at(0)) == at(0)
    assert timeline.instant(timeline.media_seconds(7.5), at(0.1)) == at(7.5)


def test_media_time_goes_on_over_loops() -> None:
    timeline = Timeline(10)
    timeline.rewind()
    timeline.instant(timeline.media_seconds(0.0), at(0))
    timeline.media_seconds(4.9)
    timeline.rewind()
    assert timeline.media_seconds(0.0) == pytest.approx(5.0)
    assert timeline.media_seconds(1.0) == pytest.approx(6.0)


def test_a_picture_ahead_of_its_time_waits_and_one_behind_is_passed_over() -> None:
    timeline = Timeline(10)
    assert timeline.wait_seconds(0.0, at(0)) == 0.0
    assert timeline.wait_seconds(0.5, at(0.2)) == pytest.approx(0.3)
    assert timeline.wait_seconds(0.5, at(0.55)) == 0.0
    assert timeline.wait_seconds(0.5, at(0.75)) is None


def test_a_file_that_decodes_too_slowly_is_played_slower_instead_of_never() -> None:
    timeline = Timeline(10)
    timeline.wait_seconds(0.0, at(0))
    assert timeline.wait_seconds(1.0, at(5.0)) == 0.0
    assert timeline.wait_seconds(1.1, at(5.0)) == pytest.approx(0.1)


def test_pauses_grow_to_eight_seconds_and_begin_anew_after_a_reset() -> None:
    backoff = Backoff()
    pauses = [backoff.next_seconds() for _ in range(8)]
    for pause, longest in zip(pauses, [0.5, 1, 2, 4, 8, 8, 8, 8], strict=True):
        assert 0.66 * longest <= pause <= longest
    backoff.reset()
    assert backoff.next_seconds() <= 0.5
