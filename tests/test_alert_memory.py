"""What outlives a restart: open alerts, cooldowns, what they kept silent, holds and counted hours, in made-up time."""

from __future__ import annotations

import json
from datetime import time, timedelta
from typing import Any

import pytest
from alert_home import (
    ENDED,
    FEAR,
    HAPPY,
    STARTED,
    STEP,
    UPDATED,
    Home,
    absence,
    camera_rule,
    device_rule,
    spike,
    sustained,
    tell_one_story,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from vire_edge.alerts.absence_alarm import LOOK_AGAIN_SECONDS
from vire_edge.alerts.face_alarm import UNOBSERVED_SECONDS
from vire_edge.domain import (
    ABSENT_SECONDS,
    ActiveHours,
    CameraStatus,
    DeviceTrouble,
    EmotionScores,
    EndReason,
    Severity,
)

ALWAYS = ActiveHours(time.min, time.max)


def test_an_open_alert_is_carried_on_by_a_new_face_and_keeps_its_place() -> None:
    home = Home(spike(escalate_after_seconds=20.0))
    home.show(13, (7, FEAR))
    home.engine.acknowledge("id0", now=home.instant)
    home.restart(30.0)
    (episode,) = home.engine.open_episodes
    assert (episode.alert_id, episode.acknowledged_at is not None, episode.track_ids) == ("id0", True, ())
    home.cameras(20, hall=CameraStatus.RECONNECTING)
    home.show(15, (1, FEAR))
    home.show(5, (1, HAPPY))
    tell_one_story(home)
    assert [change for _, change in home.changes] == [STARTED, UPDATED, ENDED]
    (started_at, _), (escalated_at, escalated), (ended_at, ended) = home.events
    assert (escalated.episode.alert_id, escalated.episode.severity) == ("id0", Severity.CRITICAL)
    assert escalated_at == pytest.approx(13 + 30 + 20 + 3 + (20 - (13 - started_at)), abs=0.3)
    assert (ended.episode.track_ids, ended.episode.end_reason) == ((1,), EndReason.CLEARED)
    assert ended.episode.duration_seconds == pytest.approx(ended_at - started_at, abs=0.11)


@pytest.mark.parametrize("comes_back", [True, False])
def test_an_open_alert_that_no_face_carries_on_ends_unobserved_even_if_the_camera_stays_away(comes_back: bool) -> None:
    home = Home(spike(), sustained(name="slow", hold_seconds=5.0))
    home.show(40, (1, FEAR))
    home.restart()
    if comes_back:
        home.show(70, (1, HAPPY))
    else:
        home.cameras(70, hall=CameraStatus.RECONNECTING)
    tell_one_story(home)
    assert {event.episode.end_reason for _, event in home.events[2:]} == {EndReason.NOT_OBSERVED}
    waited = {event.episode.rule: at - 40 for at, event in home.events[2:]}
    assert waited == pytest.approx({"rule": 3 + UNOBSERVED_SECONDS, "slow": 5 + 20 + UNOBSERVED_SECONDS}, abs=1)


def test_a_face_that_comes_too_late_to_carry_an_alert_on_is_announced_without_delay() -> None:
    home = Home(spike(cooldown_seconds=600.0))
    home.show(5, (1, FEAR))
    home.restart()
    home.cameras(UNOBSERVED_SECONDS + 1, hall=CameraStatus.RECONNECTING)
    home.show(5, (1, FEAR))
    assert [change for _, change in home.changes] == [STARTED, ENDED, STARTED]
    assert home.events[-1][0] == pytest.approx(5 + UNOBSERVED_SECONDS + 1 + 3, abs=0.2)


def test_an_alert_that_a_face_carried_on_ends_as_any_other() -> None:
    home = Home(spike())
    home.show(5, (1, FEAR))
    home.restart()
    home.show(5, (1, FEAR))
    home.show(1)
    assert home.events[-1][1].episode.end_reason is EndReason.OUT_OF_VIEW


def test_a_pause_ends_what_waits_for_a_face() -> None:
    home = Home(spike())
    home.show(5, (1, FEAR))
    home.restart()
    home.record(home.engine.release("hall", EndReason.CAMERA_DISABLED, now=home.instant))
    home.cameras(60, hall=CameraStatus.DISABLED)
    assert [change for _, change in home.changes] == [STARTED, ENDED]
    assert home.events[-1][1].episode.end_reason is EndReason.CAMERA_DISABLED


def test_after_long_an_alert_on_a_face_is_over_and_the_next_is_news() -> None:
    home = Home(spike(cooldown_seconds=300.0))
    home.show(5, (1, FEAR))
    home.restart(301.0)
    home.show(5, (1, FEAR))
    tell_one_story(home)
    assert [change for _, change in home.changes] == [STARTED, ENDED, STARTED]
    assert home.events[1][1].episode.end_reason is EndReason.STOPPED


def test_a_cooldown_goes_on_and_keeps_its_count() -> None:
    home = Home(spike(cooldown_seconds=100.0))
    for _ in range(3):
        home.show(5, (1, FEAR))
        home.show(5, (1, HAPPY))
    (_, (ended_at, _)) = home.events
    home.restart(40.0)
    home.show(5, (1, FEAR))
    home.show(5, (1, HAPPY))
    assert len(home.events) == 2
    home.restart(20.0)
    home.show(60, (1, FEAR))
    (again_at, again) = home.events[-1]
    assert again.change is STARTED
    assert again_at == pytest.approx(ended_at + 100, abs=0.2)
    assert again.episode.coalesced == 3


def test_what_fired_silently_in_a_cooldown_still_passes_it_when_it_escalates() -> None:
    home = Home(spike(cooldown_seconds=600.0, escalate_after_seconds=30.0))
    home.show(5, (1, FEAR))
    home.show(5, (1, HAPPY))
    home.show(18, (1, FEAR))
    home.restart(5.0)
    home.show(40, (1, FEAR))
    tell_one_story(home)
    (at, passed) = home.events[-1]
    assert (passed.change, passed.episode.severity) == (STARTED, Severity.CRITICAL)
    assert at == pytest.approx(10 + 3 + 5 + 3 + 30, abs=0.3)


def test_a_clean_stop_silences_nobody_who_is_still_in_distress() -> None:
    home = Home(spike(cooldown_seconds=600.0))
    home.show(5, (1, FEAR))
    home.record(home.engine.stop(now=home.instant))
    home.restart(10.0)
    home.show(5, (1, FEAR))
    tell_one_story(home)
    assert [change for _, change in home.changes] == [STARTED, ENDED, STARTED]


def test_a_clean_stop_keeps_the_cooldown_of_what_had_ended() -> None:
    home = Home(spike(cooldown_seconds=600.0))
    home.show(5, (1, FEAR))
    home.show(5, (1, HAPPY))
    home.record(home.engine.stop(now=home.instant))
    home.restart(10.0)
    home.show(5, (1, FEAR))
    assert [change for _, change in home.changes] == [STARTED, ENDED]


def test_a_cooldown_that_was_shortened_meanwhile_is_short() -> None:
    home = Home(spike(cooldown_seconds=600.0))
    home.show(5, (1, FEAR))
    home.show(5, (1, HAPPY))
    home.rules = (spike(cooldown_seconds=10.0),)
    home.restart()
    home.show(12, (1, FEAR))
    assert [change for _, change in home.changes] == [STARTED, ENDED, STARTED]


def test_counted_absence_goes_on_without_the_time_in_which_nobody_watched() -> None:
    home = Home(absence())
    home.cameras(3000, hall=CameraStatus.ONLINE)
    home.restart(3600.0)
    home.cameras(100, hall=CameraStatus.RECONNECTING)
    home.cameras(590, hall=CameraStatus.ONLINE)
    assert home.events == []
    home.cameras(20, hall=CameraStatus.ONLINE)
    assert [change for _, change in home.changes] == [STARTED]
    assert home.events[0][1].episode.evidence[ABSENT_SECONDS] == pytest.approx(3600, abs=2)


def test_an_absence_that_was_ended_by_a_stop_starts_again_once_a_camera_watches_in_active_hours() -> None:
    home = Home(absence(cooldown_seconds=7200.0, active_hours=ActiveHours(time(10), time(14))))  # from noon
    home.cameras(3700, hall=CameraStatus.ONLINE)
    home.record(home.engine.stop(now=home.instant))
    home.restart(3500.0)
    home.cameras(600, hall=CameraStatus.RECONNECTING)
    home.cameras(600, hall=CameraStatus.ONLINE)
    assert [change for _, change in home.changes] == [STARTED, ENDED]
    home.restart(20 * 3600.0)
    home.cameras(60, hall=CameraStatus.RECONNECTING)
    home.cameras(LOOK_AGAIN_SECONDS - 1, hall=CameraStatus.ONLINE)
    assert len(home.events) == 2
    home.cameras(3, hall=CameraStatus.ONLINE)
    assert [change for _, change in home.changes] == [STARTED, ENDED, STARTED]
    assert home.events[-1][1].episode.coalesced == 0


def test_after_a_stop_an_absence_is_held_anew_and_a_face_that_comes_first_was_no_silent_one() -> None:
    empty, lived_in = Home(absence(hold_seconds=30.0)), Home(absence())
    for home in (empty, lived_in):
        home.cameras(3700, hall=CameraStatus.ONLINE)
        home.record(home.engine.stop(now=home.instant))
        home.restart(5.0)
        home.cameras(60, hall=CameraStatus.RECONNECTING)
    empty.cameras(LOOK_AGAIN_SECONDS + 29, hall=CameraStatus.ONLINE)
    assert [change for _, change in empty.changes] == [STARTED, ENDED]
    empty.cameras(3, hall=CameraStatus.ONLINE)
    lived_in.show(0.1, (1, HAPPY))
    lived_in.cameras(3700, hall=CameraStatus.ONLINE)
    for home in (empty, lived_in):
        assert [change for _, change in home.changes] == [STARTED, ENDED, STARTED]
        assert home.events[-1][1].episode.coalesced == 0


def test_whoever_comes_home_and_begins_the_device_anew_is_not_told_to_be_absent() -> None:
    home = Home(absence())
    home.cameras(3700, hall=CameraStatus.ONLINE)
    home.record(home.engine.stop(now=home.instant))
    home.restart(20.0)
    home.cameras(1, hall=CameraStatus.ONLINE)  # a face takes some frames to be sure of
    home.show(0.1, (1, HAPPY))
    home.cameras(60, hall=CameraStatus.ONLINE)
    assert [change for _, change in home.changes] == [STARTED, ENDED]


def test_a_face_ends_an_absence_after_a_restart_as_before() -> None:
    home = Home(absence())
    home.cameras(3700, hall=CameraStatus.ONLINE)
    home.restart(60.0)
    home.cameras(30, hall=CameraStatus.RECONNECTING)
    assert [change for _, change in home.changes] == [STARTED]
    home.show(0.1, (1, HAPPY))
    tell_one_story(home)
    assert [change for _, change in home.changes] == [STARTED, ENDED]


def test_a_camera_that_opens_after_a_restart_neither_raises_nor_ends_an_alert() -> None:
    well, away = Home(camera_rule()), Home(camera_rule())
    well.cameras(100, hall=CameraStatus.ONLINE)
    away.cameras(100, hall=CameraStatus.STALLED)
    for home in (well, away):
        home.restart(30.0)
        home.cameras(15, hall=CameraStatus.RECONNECTING)
        home.cameras(60, hall=CameraStatus.ONLINE)
    assert well.events == []
    assert [change for _, change in away.changes] == [STARTED]
    away.cameras(20, hall=CameraStatus.ONLINE)
    assert [change for _, change in away.changes] == [STARTED, ENDED]


def test_a_camera_that_has_been_back_for_a_while_need_not_be_back_anew_after_a_restart() -> None:
    home = Home(camera_rule())
    home.cameras(100, hall=CameraStatus.STALLED)
    home.cameras(40, hall=CameraStatus.ONLINE)
    home.restart()
    home.cameras(40, hall=CameraStatus.ONLINE)
    assert home.changes == [(61.0, STARTED), (170.0, ENDED)]


def test_a_daemon_that_is_started_again_and_again_still_says_that_a_camera_is_away() -> None:
    home = Home(camera_rule(), device_rule(name="storage"))
    for _ in range(5):
        home.cameras(20, hall=CameraStatus.RECONNECTING)
        home.device(20, DeviceTrouble.STORAGE)
        home.restart(5.0)
    assert sorted(event.episode.rule for _, event in home.events) == ["rule", "storage"]


def test_a_clean_stop_lets_a_camera_open_before_it_is_said_to_be_away_again() -> None:
    home = Home(camera_rule())
    home.cameras(100, hall=CameraStatus.STALLED)
    home.record(home.engine.stop(now=home.instant))
    home.restart(5.0)
    home.cameras(50, hall=CameraStatus.RECONNECTING)
    assert [change for _, change in home.changes] == [STARTED, ENDED]
    home.cameras(20, hall=CameraStatus.RECONNECTING)
    assert [change for _, change in home.changes] == [STARTED, ENDED, STARTED]


@pytest.mark.parametrize("rules", [(), (spike(cameras=frozenset({"attic"})),), (camera_rule(),)])
def test_what_is_configured_no_longer_is_not_left_open(rules: tuple[Any, ...]) -> None:
    home = Home(spike(), cameras=("hall", "attic"))
    home.show(5, (1, FEAR))
    home.rules = rules
    home.restart(7.0)
    tell_one_story(home)
    (started_at, _), (ended_at, ended) = home.events
    assert (ended.change, ended.episode.end_reason) == (ENDED, EndReason.STOPPED)
    assert ended.episode.duration_seconds == pytest.approx(ended_at - started_at)
    assert home.engine.open_episodes == ()


def test_trackers_that_begin_anew_need_no_new_engine() -> None:
    home = Home(spike())
    home.show(5, (1, FEAR))
    home.record(home.engine.restore(home.engine.snapshot(home.instant), elapsed_seconds=0.0, now=home.instant))
    home.show(2, (1, HAPPY))
    home.show(20, (2, FEAR))
    tell_one_story(home)
    assert [change for _, change in home.changes] == [STARTED]


def everything() -> Home:
    return Home(
        spike(name="spike"), absence(name="absence"), camera_rule(name="camera"), device_rule(name="device"),
        spike(name="second"),
    )  # fmt: skip


def snapshot_of_everything() -> str:
    home = everything()
    home.show(5, (1, FEAR))
    home.cameras(70, hall=CameraStatus.STALLED)
    home.device(70, DeviceTrouble.STORAGE)
    assert len(home.engine.open_episodes) == 4
    return home.engine.snapshot(home.instant)


EVERYTHING = snapshot_of_everything()


def test_a_snapshot_holds_no_time_of_this_boot() -> None:
    def read(text: str) -> Any:
        document = json.loads(text, parse_float=lambda number: round(float(number), 3))
        for alarm in document["alarms"]:
            if alarm["keeper"]["episode"]:
                del alarm["keeper"]["episode"]["track_ids"]
        return document

    home = everything()
    home.boot = 5e6
    home.engine.restore(EVERYTHING, elapsed_seconds=0.0, now=home.instant)
    assert read(home.engine.snapshot(home.instant)) == read(EVERYTHING)


def mutations() -> st.SearchStrategy[str]:
    """The snapshot of all kinds of rule, cut short, or with one of its values replaced."""
    paths: list[list[str | int]] = []

    def walk(value: Any, path: list[str | int]) -> None:
        paths.append(path)
        if isinstance(value, dict | list):
            for key in value if isinstance(value, dict) else range(len(value)):
                walk(value[key], [*path, key])

    walk(json.loads(EVERYTHING), [])
    values: st.SearchStrategy[Any] = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just([]), st.just({})
    )

    @st.composite
    def damaged(draw: st.DrawFn) -> str:
        document = json.loads(EVERYTHING)
        *way, last = draw(st.sampled_from(paths[1:]))
        place = document
        for key in way:
            place = place[key]
        place[last] = draw(values)
        return json.dumps(document)

    return damaged() | st.text(max_size=20) | st.integers(0, len(EVERYTHING) - 1).map(lambda end: EVERYTHING[:end])


@settings(deadline=None, max_examples=150)
@given(mutations())
def test_a_damaged_snapshot_is_refused_whole_or_does_no_harm(text: str) -> None:
    home = everything()
    fresh = home.engine.snapshot(home.instant)
    try:
        home.engine.restore(text, elapsed_seconds=3.0, now=home.instant)
    except ValueError as error:
        assert "cannot be read" in str(error)  # noqa: PT017  # most damages are refused, some do no harm
        assert home.engine.snapshot(home.instant) == fresh
    home.show(4, (1, FEAR))
    home.cameras(15, hall=CameraStatus.ONLINE)
    home.device(2)
    home.engine.stop(now=home.instant)
    assert home.engine.open_episodes == ()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "the text"),
        ('{"version": 2, "alarms": []}', "version"),
        (EVERYTHING.replace("+00:00", "").replace('Z"', '"'), "times must be aware"),
        (EVERYTHING.replace('"coalesced":0', '"coalesced":-1'), "coalesced"),
        (EVERYTHING.replace('"level":1.0', '"level":NaN'), "finite"),
    ],
)
def test_a_refusal_names_what_cannot_be_read_and_what_follows(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        Home(spike()).engine.restore(text, elapsed_seconds=0.0, now=Home().instant)
    assert "are forgotten" in str(caught.value)


Look = tuple[CameraStatus, bool, list[DeviceTrouble], int, bool]
looks = st.tuples(
    st.sampled_from([CameraStatus.ONLINE, CameraStatus.ONLINE, *CameraStatus]),
    st.booleans(),
    st.lists(st.sampled_from(DeviceTrouble), max_size=2, unique=True),
    st.integers(1, 40),
    st.booleans(),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(looks, max_size=25))
def test_rules_without_faces_do_not_notice_a_restart_that_takes_no_time(script: list[Look]) -> None:
    def play(*, restarts: bool) -> list[Any]:
        home = Home(
            absence(name="absence", absent_seconds=60.0, hold_seconds=7.0, cooldown_seconds=20.0, active_hours=ALWAYS),
            camera_rule(name="away", hold_seconds=20.0, cooldown_seconds=30.0, escalate_after_seconds=25.0),
            camera_rule(name="dark", statuses=frozenset({CameraStatus.DARK}), hold_seconds=5.0),
            device_rule(DeviceTrouble.MODEL, name="model", hold_seconds=10.0, escalate_after_seconds=40.0),
            device_rule(DeviceTrouble.STORAGE, name="storage", hold_seconds=0.0, cooldown_seconds=15.0),
        )
        for status, seen, troubles, seconds, restart in script:
            for _ in range(seconds):
                home.now += 1.0
                home.record(home.engine.check_camera("hall", status, now=home.instant))
                home.record(home.engine.check_device(frozenset(troubles), now=home.instant))
            if restart and restarts:
                home.restart()
                # What a fresh engine cannot know: what the camera does now.
                home.record(home.engine.check_camera("hall", status, now=home.instant))
            if seen:
                home.record(home.engine.observe("hall", (), seen=True, remembered=frozenset(), now=home.instant))
        tell_one_story(home)
        return [(at, event.change, event.episode) for at, event in home.events]

    assert play(restarts=True) == play(restarts=False)


Scene = tuple[EmotionScores, float, bool, float | None]
scenes = st.tuples(
    st.sampled_from([FEAR, HAPPY]),
    st.floats(0.1, 12.0),
    st.booleans(),
    st.none() | st.none() | st.floats(0.0, 50.0),
)


def keep_cooldowns(home: Home, cooldown_seconds: float) -> None:
    """Nothing starts in a cooldown but what is more severe; an end that says nothing of the person begins none."""
    quiet_until, severity = float("-inf"), Severity.INFO
    for at, event in home.events:
        if event.change is STARTED:
            assert at >= quiet_until - 2 * STEP or event.episode.severity.rank > severity.rank
        elif event.change is ENDED:
            judged = event.episode.end_reason in {EndReason.CLEARED, EndReason.OUT_OF_VIEW}
            quiet_until, severity = (at + cooldown_seconds if judged else float("-inf")), event.episode.severity


@settings(deadline=None, max_examples=60)
@given(st.lists(scenes, max_size=25), st.floats(0.5, 5.0), st.booleans())
def test_over_restarts_at_any_moment_nothing_fires_early_or_twice_or_in_a_cooldown_and_all_that_starts_ends(
    script: list[Scene], hold_seconds: float, stops_cleanly: bool
) -> None:
    home = Home(spike(hold_seconds=hold_seconds, cooldown_seconds=15.0, escalate_after_seconds=12.0))
    face, afraid_since = 1, None
    for shown, seconds, observed, elapsed in script:
        if elapsed is not None:
            if stops_cleanly:
                home.record(home.engine.stop(now=home.instant))
            home.restart(elapsed)
            face, afraid_since = face + 1, None
        before = len(home.events)
        if observed:
            afraid_since = None if shown is not FEAR else home.now if afraid_since is None else afraid_since
        home.show(seconds, (face, shown), observed=observed)
        for at, event in home.events[before:]:
            if event.change is STARTED:
                assert observed
                assert afraid_since is not None
                assert at - afraid_since >= hold_seconds - STEP
    keep_cooldowns(home, 15.0)
    home.show(hold_seconds + UNOBSERVED_SECONDS + 1, (face, HAPPY))
    tell_one_story(home)
    assert home.engine.open_episodes == ()


def test_a_clock_that_is_set_between_two_boots_changes_nothing_but_what_people_are_told() -> None:
    home = Home(spike())
    home.show(5, (1, FEAR))
    home.clock_jump = timedelta(days=-1)
    home.restart(10.0)
    home.show(5, (1, FEAR))
    home.show(5, (1, HAPPY))
    tell_one_story(home)
    assert [change for _, change in home.changes] == [STARTED, ENDED]
    assert home.events[-1][1].episode.duration_seconds == pytest.approx(20, abs=0.3)
