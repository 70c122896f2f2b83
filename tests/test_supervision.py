"""What stands still is begun anew, ever more patiently, and given up in the end."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest
from brokers import wait_until

from vire_edge.camera import Camera
from vire_edge.config import CameraConfig
from vire_edge.daemon.supervision import MAX_RESTARTS, STEADY_SECONDS, Part, Supervisor
from vire_edge.domain import CameraStatus
from vire_edge.errors import BrokerError, StandstillError


def watch(supervisor: Supervisor, seconds: int) -> None:
    for second in range(seconds):
        supervisor.check(float(second))


@dataclass
class Machine:
    """A part that stands still until it has been restarted `stubborn` times."""

    stubborn: int = 0
    stands: bool = False
    breaks: bool = False
    restarted_at: list[float] = field(default_factory=list)
    now: float = 0.0

    def complaint(self, now: float) -> str:
        self.now = now
        return "stands" if self.stands else ""

    def restart(self) -> None:
        self.restarted_at.append(self.now)
        if self.breaks:
            raise BrokerError("its address is in use")
        self.stands = len(self.restarted_at) < self.stubborn

    @property
    def part(self) -> Part:
        return Part("the machine", self.complaint, self.restart)


def test_what_moves_is_left_alone() -> None:
    machine = Machine()
    supervisor = Supervisor([machine.part])
    assert all(supervisor.check(float(second)) for second in range(100))
    assert not machine.restarted_at
    assert supervisor.restarts == {}


def test_what_stands_still_is_begun_anew_at_once_and_then_ever_more_patiently() -> None:
    machine = Machine(stubborn=MAX_RESTARTS, stands=True)
    supervisor = Supervisor([machine.part])
    moves = [supervisor.check(float(second)) for second in range(20)]
    assert machine.restarted_at == [0.0, 1.0, 3.0, 7.0]
    assert moves == [False] * 8 + [True] * 12
    assert supervisor.restarts == {"the machine": 4}


def test_what_no_restart_helps_ends_the_daemon_within_systemds_patience() -> None:
    machine = Machine(stubborn=1000, stands=True)
    supervisor = Supervisor([Machine().part, machine.part])
    with pytest.raises(StandstillError, match=f"the machine stands, and {MAX_RESTARTS} restarts of it did not help"):
        watch(supervisor, 60)
    assert len(machine.restarted_at) == MAX_RESTARTS
    assert machine.now <= 15.0


def test_a_restart_that_fails_counts_as_one() -> None:
    machine = Machine(stands=True, breaks=True)
    supervisor = Supervisor([machine.part])
    with pytest.raises(StandstillError):
        watch(supervisor, 60)
    assert len(machine.restarted_at) == MAX_RESTARTS


def test_restarts_are_forgiven_after_a_long_time_without_trouble() -> None:
    machine = Machine(stubborn=3, stands=True)
    supervisor = Supervisor([machine.part])
    watch(supervisor, 10)
    supervisor.check(10.0 + STEADY_SECONDS)
    machine.stands, machine.stubborn = True, 3 + MAX_RESTARTS
    moves = [supervisor.check(1000.0 + second) for second in range(60)]
    assert moves[-1]
    assert supervisor.restarts == {"the machine": 3 + MAX_RESTARTS}


def test_one_part_that_stands_still_keeps_no_other_from_being_begun_anew() -> None:
    first, second = Machine(stubborn=1, stands=True), Machine(stubborn=1, stands=True)
    supervisor = Supervisor([Part("first", first.complaint, first.restart), second.part])
    assert not supervisor.check(0.0)
    assert (first.restarted_at, second.restarted_at) == ([0.0], [0.0])
    assert supervisor.check(1.0)


def test_a_restarted_camera_brings_frames_again() -> None:
    camera = Camera(CameraConfig(name="room", source="synthetic", loop=True), wake=threading.Event())
    camera.start()
    try:
        wait_until(lambda: camera.take() is not None, what="a frame")
        camera.restart()
        assert camera.state.status is CameraStatus.RECONNECTING
        wait_until(lambda: camera.state.status is CameraStatus.ONLINE, what="the camera")
        wait_until(lambda: camera.take() is not None, what="a frame")
        assert camera.reopened == 1
    finally:
        camera.stop(timeout_seconds=2.0)


def test_a_camera_that_is_paused_is_not_restarted() -> None:
    camera = Camera(CameraConfig(name="room", source="synthetic", loop=True), wake=threading.Event())
    camera.start()
    try:
        camera.pause()
        camera.restart()
        assert camera.state.status is CameraStatus.DISABLED
    finally:
        camera.stop(timeout_seconds=2.0)
