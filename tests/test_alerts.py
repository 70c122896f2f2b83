"""Rules over states → episodes, in made-up time."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vire_edge.alerts import AlertEngine
from vire_edge.alerts.trigger import Trigger
from vire_edge.alerts.window import ShareWindow
from vire_edge.domain import (
    ABSENT_SECONDS,
    EMOTIONS,
    AbsenceRule,
    ActiveHours,
    AlertRule,
    CameraRule,
    CameraStatus,
    Emotion,
    EmotionScores,
    EmotionState,
    EndReason,
    EpisodeChange,
    EpisodeEvent,
    Instant,
    Severity,
    SpikeRule,
    SustainedRule,
)

NOON = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
STEP = 0.1
DISTRESS = frozenset({Emotion.SAD, Emotion.FEAR, Emotion.ANGRY})
STARTED, UPDATED, ENDED = EpisodeChange.STARTED, EpisodeChange.UPDATED, EpisodeChange.ENDED


def shared(**changes: Any) -> dict[str, Any]:
    return {
        "name": "rule",
        "severity": Severity.WARNING,
        "threshold": 0.8,
        "clear_threshold": 0.5,
        "hold_seconds": 3.0,
        "cooldown_seconds": 60.0,
    } | changes


def spike(**changes: Any) -> SpikeRule:
    return SpikeRule(**shared(emotions=frozenset({Emotion.FEAR}), **changes))


def sustained(**changes: Any) -> SustainedRule:
    settings = shared(threshold=0.6, clear_threshold=0.4, hold_seconds=0.0) | {
        "emotions": DISTRESS,
        "score": 0.5,
        "window_seconds": 60.0,
        "min_observed_seconds": 20.0,
    }
    return SustainedRule(**(settings | changes))


def absence(**changes: Any) -> AbsenceRule:
    settings = shared(threshold=1.0, clear_threshold=1.0, hold_seconds=0.0) | {
        "absent_seconds": 3600.0,
        "active_hours": ActiveHours(time(8), time(21)),
    }
    return AbsenceRule(**(settings | changes))


def camera_rule(**changes: Any) -> CameraRule:
    settings = shared(threshold=1.0, clear_threshold=1.0, hold_seconds=60.0) | {
        "statuses": frozenset({CameraStatus.RECONNECTING, CameraStatus.STALLED}),
        "active_hours": None,
    }
    return CameraRule(**(settings | changes))


def scores(emotion: Emotion, probability: float = 0.9) -> EmotionScores:
    rest = (1 - probability) / 6
    return EmotionScores(tuple(probability if other is emotion else rest for other in EMOTIONS))


class Home:
    """Plays people in front of an engine's cameras."""

    def __init__(self, *rules: AlertRule, cameras: tuple[str, ...] = ("hall",), start: datetime = NOON) -> None:
        self.ids = (f"id{number}" for number in itertools.count())
        self.engine = AlertEngine(rules, cameras, new_id=lambda: next(self.ids), zone=UTC)
        self.start = start
        self.now = 0.0
        self.clock_jump = timedelta()
        self.events: list[tuple[float, EpisodeEvent]] = []
        for camera in cameras:
            self.engine.check_camera(camera, CameraStatus.ONLINE, now=self.instant)

    @property
    def instant(self) -> Instant:
        return Instant(1000 + self.now, self.start + timedelta(seconds=self.now) + self.clock_jump)

    def record(self, events: Iterable[EpisodeEvent]) -> None:
        self.events += [(round(self.now, 1), event) for event in events]

    def show(
        self,
        seconds: float,
        *people: tuple[int, EmotionScores],
        camera: str = "hall",
        observed: bool = True,
        remembered: frozenset[int] | None = None,
    ) -> None:
        for _ in range(round(seconds / STEP)):
            self.now += STEP
            states = [EmotionState(track, shown, self.now, STEP) for track, shown in people] if observed else []
            tracks = frozenset(track for track, _ in people) if remembered is None else remembered
            self.record(self.engine.observe(camera, states, seen=bool(people), remembered=tracks, now=self.instant))

    def cameras(self, seconds: float, **statuses: CameraStatus) -> None:
        for _ in range(round(seconds)):
            self.now += 1.0
            for camera, status in statuses.items():
                self.record(self.engine.check_camera(camera, status, now=self.instant))

    @property
    def changes(self) -> list[tuple[float, EpisodeChange]]:
        return [(at, event.change) for at, event in self.events]


FEAR, HAPPY, SAD = scores(Emotion.FEAR), scores(Emotion.HAPPY), scores(Emotion.SAD)


def test_a_spike_fires_once_it_was_held_and_ends_once_it_was_cleared_as_long() -> None:
    home = Home(spike())
    home.show(5, (1, HAPPY))
    home.show(10, (1, FEAR))
    home.show(10, (1, HAPPY))
    assert home.changes == [(8.1, STARTED), (18.1, ENDED)]
    (_, started), (_, ended) = home.events
    assert started.episode.alert_id == ended.episode.alert_id == "id0"
    assert (started.episode.sequence, ended.episode.sequence) == (0, 1)
    assert started.episode.track_ids == (1,)
    assert started.episode.evidence == {"fear": pytest.approx(0.9)}
    assert ended.episode.end_reason is EndReason.CLEARED
    assert ended.episode.ended_at is not None
    assert ended.episode.ended_at > started.episode.started_at


def test_a_spike_that_is_shorter_than_its_hold_is_silent() -> None:
    home = Home(spike())
    for _ in range(20):
        home.show(2.5, (1, FEAR))
        home.show(1, (1, HAPPY))
    assert home.events == []


def test_a_level_between_the_thresholds_changes_nothing() -> None:
    home = Home(spike())
    between = scores(Emotion.FEAR, 0.65)
    home.show(10, (1, between))
    assert home.events == []
    home.show(4, (1, FEAR))
    home.show(60, (1, between))
    assert home.changes == [(13.1, STARTED)]


def test_two_people_never_add_up_to_one_spike() -> None:
    home = Home(spike())
    for _ in range(10):
        home.show(2, (1, FEAR), (2, HAPPY))
        home.show(2, (1, HAPPY), (2, FEAR))
    assert home.events == []


def test_a_gap_in_the_observation_breaks_the_hold() -> None:
    home = Home(spike())
    home.show(2, (1, FEAR))
    home.show(5, (1, FEAR), observed=False)
    state = EmotionState(1, FEAR, 2.0, 0.0)
    home.record(home.engine.observe("hall", [state], seen=True, remembered=frozenset({1}), now=home.instant))
    home.show(2, (1, FEAR))
    assert home.events == []
    home.show(1.2, (1, FEAR))
    assert [change for _, change in home.changes] == [STARTED]


def test_sustained_fires_when_the_share_of_observed_time_is_reached_with_enough_observation() -> None:
    home = Home(sustained())
    home.show(60, (1, HAPPY))
    home.show(60, (1, SAD))
    (at, event), *rest = home.events
    assert at == pytest.approx(60 + 36, abs=0.6)
    assert event.episode.level == pytest.approx(0.6, abs=0.01)
    assert rest == []


def test_sustained_says_nothing_before_the_minimum_of_observation() -> None:
    home = Home(sustained())
    home.show(19.5, (1, SAD))
    assert home.events == []
    home.show(1, (1, SAD))
    assert [change for _, change in home.changes] == [STARTED]


def test_sustained_adds_the_probabilities_of_a_group() -> None:
    mixed = EmotionScores((0.25, 0.0, 0.25, 0.4, 0.1, 0.0, 0.0))
    home = Home(sustained())
    home.show(30, (1, mixed))
    assert [change for _, change in home.changes] == [STARTED]


def test_sustained_does_not_count_time_that_was_not_observed() -> None:
    home = Home(sustained())
    home.show(15, (1, SAD))
    home.show(20, (1, SAD), observed=False)
    assert home.events == []
    home.show(6, (1, SAD))
    assert [change for _, change in home.changes] == [STARTED]


def test_somebody_who_leaves_takes_the_episode_along() -> None:
    home = Home(spike())
    home.show(5, (1, FEAR))
    home.show(8, remembered=frozenset({1}))
    assert len(home.events) == 1
    home.show(1)
    assert [change for _, change in home.changes] == [STARTED, ENDED]
    assert home.events[-1][1].episode.end_reason is EndReason.OUT_OF_VIEW


def test_a_second_person_joins_the_open_episode_and_keeps_it_open() -> None:
    home = Home(spike())
    home.show(5, (1, FEAR), (2, HAPPY))
    home.show(5, (1, FEAR), (2, FEAR))
    home.show(30, (2, FEAR))
    assert [change for _, change in home.changes] == [STARTED]
    (episode,) = home.engine.open_episodes
    assert episode.track_ids == (1, 2)


def test_the_cooldown_counts_what_it_keeps_silent() -> None:
    home = Home(spike(cooldown_seconds=60))
    for _ in range(4):
        home.show(5, (1, FEAR))
        home.show(10, (1, HAPPY))
    assert [change for _, change in home.changes] == [STARTED, ENDED]
    home.show(60, (1, HAPPY))
    home.show(5, (1, FEAR))
    assert [change for _, change in home.changes] == [STARTED, ENDED, STARTED]
    assert home.events[-1][1].episode.coalesced == 3


def test_what_still_fires_after_the_cooldown_is_announced() -> None:
    home = Home(spike(cooldown_seconds=20))
    home.show(5, (1, FEAR))
    home.show(4, (1, HAPPY))
    home.show(60, (1, FEAR))
    (_, _), (ended_at, _), (again_at, again) = home.events
    assert again_at == pytest.approx(ended_at + 20, abs=0.2)
    assert again.change is STARTED


def test_an_episode_that_goes_on_escalates_once() -> None:
    home = Home(spike(escalate_after_seconds=30.0))
    home.show(120, (1, FEAR))
    assert [change for _, change in home.changes] == [STARTED, UPDATED]
    assert home.events[1][0] == pytest.approx(home.events[0][0] + 30, abs=0.2)
    assert home.events[1][1].episode.severity is Severity.CRITICAL
    assert home.events[1][1].episode.sequence == 1


def test_a_higher_severity_passes_the_cooldown() -> None:
    home = Home(spike(cooldown_seconds=600, escalate_after_seconds=30.0))
    home.show(5, (1, FEAR))
    home.show(4, (1, HAPPY))
    home.show(60, (1, FEAR))
    (_, _), (_, _), (at, passed) = home.events
    assert passed.change is STARTED
    assert passed.episode.severity is Severity.CRITICAL
    assert at == pytest.approx(9 + 3 + 30, abs=0.3)


def test_a_rule_watches_only_its_cameras() -> None:
    home = Home(spike(cameras=frozenset({"attic"})), cameras=("hall", "attic"))
    home.show(10, (1, FEAR))
    assert home.events == []
    home.show(10, (1, FEAR), camera="attic")
    assert home.events[0][1].episode.camera == "attic"


def test_absence_counts_active_hours_only() -> None:
    home = Home(absence(), start=NOON.replace(hour=20, minute=30))
    home.cameras(11.9 * 3600, hall=CameraStatus.ONLINE)
    assert home.events == []
    home.cameras(600, hall=CameraStatus.ONLINE)
    (at, event), *rest = home.events
    assert at == pytest.approx(12 * 3600, abs=2)  # half an hour in the evening, half an hour from eight
    assert event.episode.camera is None
    assert event.episode.evidence[ABSENT_SECONDS] == pytest.approx(3600, abs=2)
    assert rest == []


def test_one_face_ends_an_absence_at_once_even_if_it_cannot_be_judged() -> None:
    home = Home(absence())
    home.cameras(3700, hall=CameraStatus.ONLINE)
    home.show(0.1, (1, HAPPY), observed=False)
    assert [change for _, change in home.changes] == [STARTED, ENDED]


def test_absence_needs_every_camera_empty_and_one_that_works() -> None:
    home = Home(absence(), cameras=("hall", "attic"))
    for _ in range(70):
        home.cameras(60, hall=CameraStatus.ONLINE, attic=CameraStatus.ONLINE)
        home.show(0.1, (1, HAPPY), camera="attic")
    assert home.events == []
    home.cameras(2 * 3600, hall=CameraStatus.RECONNECTING, attic=CameraStatus.DISABLED)
    assert home.events == []


def test_a_camera_that_is_away_for_too_long_is_an_alert_and_its_return_ends_it() -> None:
    home = Home(camera_rule())
    home.cameras(50, hall=CameraStatus.STALLED)
    home.cameras(10, hall=CameraStatus.ONLINE)
    home.cameras(100, hall=CameraStatus.RECONNECTING)
    home.cameras(100, hall=CameraStatus.ONLINE)
    assert home.changes == [(121.0, STARTED), (230.0, ENDED)]


def test_a_dark_room_counts_in_the_active_hours_only() -> None:
    dark = camera_rule(
        statuses=frozenset({CameraStatus.DARK}), active_hours=ActiveHours(time(22), time(6)), hold_seconds=10.0
    )
    home = Home(dark, start=NOON.replace(hour=21, minute=59))
    home.cameras(120, hall=CameraStatus.DARK)
    assert home.changes == [(70.0, STARTED)]


def test_a_pause_ends_a_camera_alert_without_delay() -> None:
    home = Home(camera_rule())
    home.cameras(100, hall=CameraStatus.STALLED)
    home.cameras(1, hall=CameraStatus.DISABLED)
    assert home.events[-1][1].episode.end_reason is EndReason.CAMERA_DISABLED


def test_releasing_a_camera_ends_what_its_faces_raised() -> None:
    home = Home(spike())
    home.show(5, (1, FEAR))
    home.record(home.engine.release("hall", EndReason.CAMERA_DISABLED, now=home.instant))
    assert home.events[-1][1].episode.end_reason is EndReason.CAMERA_DISABLED


def test_stopping_ends_every_open_episode() -> None:
    home = Home(spike(), sustained(), camera_rule())
    home.show(30, (1, FEAR))
    home.record(home.engine.stop(now=home.instant))
    assert [event.change for _, event in home.events] == [STARTED, STARTED, ENDED, ENDED]
    assert home.engine.open_episodes == ()


@pytest.mark.parametrize("jump", [timedelta(days=1), timedelta(days=-1)])
def test_a_clock_that_jumps_neither_fires_nor_suppresses(jump: timedelta) -> None:
    home = Home(spike(), absence())
    home.show(2, (1, FEAR))
    home.clock_jump = jump
    home.show(2, (1, FEAR))
    home.cameras(1800, hall=CameraStatus.ONLINE)
    assert [event.change for _, event in home.events] == [STARTED]
    home.cameras(2000, hall=CameraStatus.ONLINE)
    assert home.events[-1][1].episode.camera is None


def test_an_acknowledged_alert_stays_open_and_says_so() -> None:
    home = Home(spike())
    home.show(5, (1, FEAR))
    assert home.engine.acknowledge("nobody", now=home.instant) is None
    home.engine.acknowledge("id0", now=home.instant)
    (episode,) = home.engine.open_episodes
    assert episode.acknowledged_at == home.instant.utc


def test_a_cooldown_that_ends_unobserved_announces_nothing_that_is_over() -> None:
    home = Home(spike(hold_seconds=1.0, cooldown_seconds=10.0))
    home.show(2, (1, FEAR))
    home.show(2, (1, HAPPY))
    assert [change for _, change in home.changes] == [STARTED, ENDED]
    home.show(3, (1, FEAR))
    home.show(8, (1, FEAR), observed=False)
    home.show(3, (1, HAPPY))
    assert len(home.changes) == 2
    home.show(3, (1, FEAR))
    assert home.changes[2:] == [(19.1, STARTED)]


@given(
    st.lists(st.tuples(st.sampled_from([FEAR, HAPPY, SAD]), st.floats(0.1, 8.0), st.booleans()), max_size=40),
    st.floats(0.5, 5.0),
)
def test_nothing_ends_without_a_start_and_nothing_starts_before_its_hold(
    scenes: list[tuple[EmotionScores, float, bool]], hold_seconds: float
) -> None:
    home = Home(spike(hold_seconds=hold_seconds, cooldown_seconds=10.0, escalate_after_seconds=15.0))
    afraid_since: float | None = None
    for shown, seconds, observed in scenes:
        before = len(home.events)
        if observed and shown is not FEAR:
            afraid_since = None
        elif observed and afraid_since is None:
            afraid_since = home.now
        home.show(seconds, (1, shown), observed=observed)
        for at, event in home.events[before:]:
            if event.change is STARTED:
                assert observed
                assert shown is FEAR
                assert afraid_since is not None
                assert at - afraid_since >= hold_seconds - STEP
    open_id: str | None = None
    sequence = 0
    for _, event in home.events:
        if event.change is STARTED:
            assert open_id is None
            open_id, sequence = event.episode.alert_id, 0
        else:
            assert event.episode.alert_id == open_id
            sequence += 1
        assert event.episode.sequence == sequence
        if event.change is ENDED:
            open_id = None


@given(st.lists(st.tuples(st.booleans(), st.floats(0.0, 2.0), st.floats(0.0, 30.0)), max_size=200))
def test_a_share_is_a_share(steps: list[tuple[bool, float, float]]) -> None:
    window, now = ShareWindow(60.0), 0.0
    for shown, interval, pause in steps:
        now += interval + pause
        window.add(shown=shown, interval_seconds=interval, now=now)
        share = window.share(min_observed_seconds=1.0)
        assert share is None or 0.0 <= share <= 1.0


def test_nothing_can_be_concluded_from_nothing() -> None:
    trigger = Trigger(threshold=0.5, clear_threshold=0.4, hold_seconds=1.0)
    assert not trigger.update(0.9, interval_seconds=0.5, now=0.0)
    assert not trigger.update(None, interval_seconds=10.0, now=10.0)
    assert not trigger.update(0.9, interval_seconds=0.9, now=10.9)
    assert trigger.update(0.9, interval_seconds=0.1, now=11.0)
    assert trigger.update(None, interval_seconds=100.0, now=111.0)


def test_absence_counts_each_second_once_though_cameras_frames_come_out_of_order() -> None:
    home = Home(absence(), cameras=("hall", "attic"))
    fired_at = None
    for step in range(1, 40_000):
        home.now = step / 10
        events = home.engine.observe("hall", (), seen=False, remembered=frozenset(), now=home.instant)
        home.now -= 0.05
        events += home.engine.observe("attic", (), seen=False, remembered=frozenset(), now=home.instant)
        if events and fired_at is None:
            fired_at = home.now
    assert fired_at == pytest.approx(3600, abs=1)


def test_an_episode_ends_when_the_face_stays_but_cannot_be_judged_any_more() -> None:
    home = Home(sustained(escalate_after_seconds=600.0))
    home.show(40, (1, SAD))
    home.show(1200, (1, SAD), observed=False)
    assert [change for _, change in home.changes] == [STARTED, ENDED]
    assert home.events[-1][1].episode.end_reason is EndReason.NOT_OBSERVED
    assert home.events[-1][0] == pytest.approx(70, abs=0.3)


def test_sparse_observations_are_enough_to_clear() -> None:
    home = Home(spike(escalate_after_seconds=60.0))
    home.show(5, (1, FEAR))
    for _ in range(10):
        home.now += 2.5
        state = EmotionState(1, HAPPY, 5.0, 0.0)
        home.record(home.engine.observe("hall", [state], seen=True, remembered=frozenset({1}), now=home.instant))
    assert [change for _, change in home.changes] == [STARTED, ENDED]
    assert home.events[-1][0] == pytest.approx(12.5, abs=0.1)


def test_only_time_that_speaks_for_the_episode_escalates_it() -> None:
    home = Home(camera_rule(hold_seconds=600.0, escalate_after_seconds=300.0))
    home.cameras(610, hall=CameraStatus.RECONNECTING)
    home.cameras(1000, hall=CameraStatus.ONLINE)
    assert [change for _, change in home.changes] == [STARTED, ENDED]


def test_a_camera_that_was_away_for_a_moment_is_no_alert() -> None:
    home = Home(camera_rule(hold_seconds=5.0))
    home.cameras(3, hall=CameraStatus.RECONNECTING)
    home.cameras(100, hall=CameraStatus.ONLINE)
    assert home.events == []


def test_a_camera_that_only_flickers_back_is_still_away() -> None:
    home = Home(camera_rule())
    for _ in range(30):
        home.cameras(9, hall=CameraStatus.RECONNECTING)
        home.cameras(1, hall=CameraStatus.ONLINE)
    assert [change for _, change in home.changes] == [STARTED]
