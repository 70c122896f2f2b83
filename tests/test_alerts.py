"""Rules over states → episodes, in made-up time."""

from __future__ import annotations

from datetime import time, timedelta

import pytest
from alert_home import (
    ENDED,
    FEAR,
    HAPPY,
    NOON,
    SAD,
    STARTED,
    STEP,
    UPDATED,
    Home,
    absence,
    camera_rule,
    device_rule,
    scores,
    spike,
    sustained,
    tell_one_story,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from vire_edge.alerts.trigger import Trigger
from vire_edge.alerts.window import ShareWindow
from vire_edge.domain import (
    ABSENT_SECONDS,
    ActiveHours,
    CameraStatus,
    DeviceTrouble,
    Emotion,
    EmotionScores,
    EmotionState,
    EndReason,
    EpisodeChange,
    Severity,
)


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


def test_while_faces_cannot_be_judged_nobody_is_taken_for_absent() -> None:
    home = Home(absence())
    for _ in range(7200):
        home.now += 1.0
        home.record(home.engine.check_camera("hall", CameraStatus.ONLINE, judging=False, now=home.instant))
    assert home.events == []
    home.cameras(3602, hall=CameraStatus.ONLINE)
    assert [change for _, change in home.changes] == [STARTED]


def test_releasing_a_camera_ends_what_its_faces_raised() -> None:
    home = Home(spike())
    home.show(5, (1, FEAR))
    home.record(home.engine.release("hall", EndReason.CAMERA_DISABLED, now=home.instant))
    assert home.events[-1][1].episode.end_reason is EndReason.CAMERA_DISABLED


def test_what_is_still_there_after_a_pause_is_announced_again() -> None:
    home = Home(spike(cooldown_seconds=600))
    home.show(5, (1, FEAR))
    home.record(home.engine.release("hall", EndReason.CAMERA_DISABLED, now=home.instant))
    home.show(5, (2, FEAR))
    assert [change for _, change in home.changes] == [STARTED, ENDED, STARTED]


def test_stopping_ends_every_open_episode() -> None:
    home = Home(spike(), sustained(), camera_rule())
    home.show(30, (1, FEAR))
    home.record(home.engine.stop(now=home.instant))
    assert [event.change for _, event in home.events] == [STARTED, STARTED, ENDED, ENDED]
    assert home.engine.open_episodes == ()


Scene = tuple[EmotionScores, CameraStatus, list[DeviceTrouble], int, float]


def play(home: Home, scenes: list[Scene]) -> list[tuple[float, EpisodeChange, str, Severity, float]]:
    for shown, status, troubles, seconds, jump in scenes:
        home.clock_jump += timedelta(seconds=jump)
        home.show(seconds, (1, shown))
        home.cameras(seconds * 4, hall=status)
        home.device(seconds * 2, *troubles)
    tell_one_story(home)
    return [
        (at, event.change, event.episode.rule, event.episode.severity, round(event.episode.duration_seconds, 3))
        for at, event in home.events
    ]


scenes_of = st.tuples(
    st.sampled_from([FEAR, HAPPY, SAD]),
    st.sampled_from(CameraStatus),
    st.lists(st.sampled_from(DeviceTrouble), max_size=1),
    st.integers(1, 12),
)
jumps = st.sampled_from([0.0, 3600.0, -3600.0, 86_400.0, -86_400.0]) | st.floats(-1e6, 1e6)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(scenes_of, jumps), max_size=8))
def test_a_clock_that_is_set_changes_no_alert(
    steps: list[tuple[tuple[EmotionScores, CameraStatus, list[DeviceTrouble], int], float]],
) -> None:
    def home() -> Home:
        return Home(
            spike(name="spike", hold_seconds=2.0, cooldown_seconds=20.0, escalate_after_seconds=8.0),
            sustained(name="sustained", window_seconds=10.0, min_observed_seconds=3.0),
            absence(name="absence", absent_seconds=30.0, active_hours=ActiveHours(time.min, time.max)),
            camera_rule(name="camera", hold_seconds=15.0),
            device_rule(name="device", hold_seconds=10.0),
        )

    set_often = play(home(), [(*scene, jump) for scene, jump in steps])
    assert set_often == play(home(), [(*scene, 0.0) for scene, _ in steps])


@pytest.mark.parametrize("jump", [timedelta(hours=7), timedelta(days=-1)])
def test_an_alert_lasts_as_long_as_it_lasts_whatever_the_clock_says(jump: timedelta) -> None:
    home = Home(spike())
    home.show(5, (1, FEAR))
    home.clock_jump = jump
    home.show(7, (1, FEAR))
    home.show(5, (1, HAPPY))
    ended = home.events[-1][1].episode
    assert ended.duration_seconds == pytest.approx(12, abs=0.3)
    assert ended.ended_at is not None
    assert ended.ended_at >= ended.started_at


def test_the_oldest_open_alert_comes_first_though_the_clock_was_set_back() -> None:
    home = Home(spike(name="first"), device_rule(name="second", hold_seconds=1.0))
    home.show(5, (1, FEAR))
    home.clock_jump = timedelta(days=-1)
    home.device(3, DeviceTrouble.STORAGE)
    assert [episode.rule for episode in home.engine.open_episodes] == ["first", "second"]


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


@settings(deadline=None)
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
    tell_one_story(home)


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
