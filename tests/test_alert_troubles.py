"""Rules on trouble, a camera's and the device's own, in made-up time."""

from __future__ import annotations

from datetime import time

import pytest
from alert_home import ENDED, NOON, STARTED, UPDATED, Home, camera_rule, device_rule

from vire_edge.domain import TROUBLE_SECONDS, ActiveHours, CameraStatus, DeviceTrouble, EndReason, Severity


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


def test_after_a_pause_a_camera_that_is_still_away_is_announced_again() -> None:
    home = Home(camera_rule(cooldown_seconds=3600.0))
    home.cameras(100, hall=CameraStatus.STALLED)
    home.cameras(100, hall=CameraStatus.DISABLED)
    home.cameras(100, hall=CameraStatus.STALLED)
    assert home.changes == [(61.0, STARTED), (101.0, ENDED), (261.0, STARTED)]


def test_the_device_s_own_trouble_is_an_alert_that_belongs_to_no_camera_and_names_it() -> None:
    home = Home(device_rule(DeviceTrouble.MODEL, severity=Severity.CRITICAL))
    home.device(59)
    home.device(200, DeviceTrouble.MODEL)
    home.device(100)
    assert home.changes == [(120.0, STARTED), (329.0, ENDED)]
    (_, started), (_, ended) = home.events
    assert (started.episode.camera, started.episode.severity) == (None, Severity.CRITICAL)
    assert started.episode.evidence == {TROUBLE_SECONDS: pytest.approx(61), "model": 1.0}
    assert ended.episode.end_reason is EndReason.CLEARED
    assert ended.episode.duration_seconds == 209.0


def test_one_trouble_does_not_hide_another() -> None:
    home = Home(
        device_rule(DeviceTrouble.STORAGE, name="storage"), device_rule(DeviceTrouble.DELIVERY, name="delivery")
    )
    home.device(100, DeviceTrouble.STORAGE)
    home.device(100, DeviceTrouble.STORAGE, DeviceTrouble.DELIVERY)
    home.device(100, DeviceTrouble.MODEL)
    assert [(event.change, event.episode.rule) for _, event in home.events] == [
        (STARTED, "storage"), (STARTED, "delivery"), (ENDED, "storage"), (ENDED, "delivery"),
    ]  # fmt: skip


def test_a_trouble_that_flickers_is_one_trouble_and_escalates() -> None:
    home = Home(device_rule(hold_seconds=20.0, escalate_after_seconds=120.0))
    for _ in range(20):
        home.device(9, DeviceTrouble.STORAGE)
        home.device(3)
    assert [change for _, change in home.changes] == [STARTED, UPDATED]
