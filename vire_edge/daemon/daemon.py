"""The one main loop: frames → observations → messages; commands, health and the watchdog in between.

Cameras and the broker's connection live in threads of their own and wake this loop; whatever decides
anything happens here, in one thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from queue import Empty
from types import TracebackType
from typing import Self

import structlog

from vire_edge.config import Config
from vire_edge.daemon.clock import read_clocks
from vire_edge.daemon.commands import Commands
from vire_edge.daemon.health import HealthReporter
from vire_edge.daemon.ports import Camera, Publisher
from vire_edge.daemon.scene import Scene
from vire_edge.daemon.systemd import ServiceManager
from vire_edge.domain import OPENING, CameraState, CameraStatus, EpisodeChange, EpisodeEvent, Instant
from vire_edge.messages import Messages, describe
from vire_edge.mqtt import CommandReceived, Connected
from vire_edge.pipeline import Pipeline

TICK_SECONDS = 1.0
"""How often cameras are checked, frames or not."""
GRACE_SECONDS = 10.0
"""How much longer than its `stall_seconds` an online camera may bring nothing before that is our own fault."""
CAMERA_STOP_SECONDS = 1.0
DELIVERY_STOP_SECONDS = 5.0
"""What closing all cameras and delivering the rest may take: systemd allows ten seconds in all."""

log = structlog.get_logger()


class Daemon:
    """Watches, until it is told to stop or all its files are read.

    Args:
        config: the configuration.
        cameras: one for each configured camera; they set `wake`.
        pipeline: everything between a frame and an episode.
        publisher: takes messages to the broker; sets `wake`.
        messages: builds the messages.
        model: what the health report says of the model.
        wake: set by whoever has something for the main loop.
        manager: systemd, if it started us.
        vital: what must not end before the daemon does, each with whether it still runs.
        clock: reads both clocks.
    """

    def __init__(
        self,
        config: Config,
        *,
        cameras: Sequence[Camera],
        pipeline: Pipeline,
        publisher: Publisher,
        messages: Messages,
        model: str,
        wake: threading.Event,
        manager: ServiceManager | None = None,
        vital: Mapping[str, Callable[[], bool]] | None = None,
        clock: Callable[[], Instant] = read_clocks,
    ) -> None:
        self._config = config
        self._cameras = cameras
        self._pipeline = pipeline
        self._publisher = publisher
        self._messages = messages
        self._wake = wake
        self._manager = manager or ServiceManager({})
        self._vital = vital or {}
        self._standing_still: str | None = None
        self._clock = clock
        # A plain flag: an Event's lock is not reentrant, and a signal may arrive while this thread holds it.
        self._stop_requested = False
        self._scenes = {camera.name: Scene() for camera in cameras}
        self._told_cameras: dict[str, CameraState] = {}
        self._last_frames: dict[str, float] = {}
        self._started = clock()
        self._health = HealthReporter(
            device_id=messages.topics.device_id,
            cameras=cameras,
            publisher=publisher,
            interval_seconds=config.health.interval_seconds,
            model=model,
            started=self._started,
        )
        self._commands = Commands(cameras, pipeline.engine, self._health, messages)
        self._next_tick = float("-inf")
        self._next_health = float("-inf")

    def request_stop(self) -> None:
        """End `run` within a tick; safe in a signal handler."""
        self._stop_requested = True

    def start(self) -> None:
        """Start everything; neither a missing webcam nor a missing broker delays it.

        Raises:
            CameraError: a file or folder of pictures cannot be read.
            ConfigError: a certificate or key cannot be read.
        """
        self._publisher.start()
        for camera in self._cameras:
            camera.start()
        self._manager.ready()
        log.info("started", device=self._messages.topics.device_id, cameras=[c.name for c in self._cameras])

    def run(self) -> None:
        """Work until told to stop, or until every camera is a file that has been read to its end."""
        while not self._stop_requested:
            self._wake.wait(timeout=max(0.0, min(TICK_SECONDS, self._next_tick - self._clock().monotonic)))
            self._wake.clear()
            self._take_frames()
            self._answer_broker()
            now = self._clock()
            if now.monotonic >= self._next_tick:
                self._next_tick = now.monotonic + TICK_SECONDS
                self._tick(now)
            self._tell_scenes(now)
            if all(camera.finished for camera in self._cameras):
                log.info("all recordings are read to their end")
                break

    def stop(self) -> None:
        """Stop on purpose; leaves `stopped` on the availability topic, nobody in view and no open episode behind."""
        self._manager.stopping()
        self._stop_cameras()
        now = self._clock()
        self._announce(self._pipeline.stop(now=now), now)
        for camera in self._cameras:  # retained: what was seen last is not what is seen now
            self._publisher.publish(self._messages.state(camera.name, (), not_observed=0, at=now.utc))
            stopped = CameraState(camera.name, CameraStatus.DISABLED, now.utc, "the daemon has stopped")
            self._publisher.publish(self._messages.camera(stopped, at=now.utc))
        goodbye = self._messages.availability("stopped", at=now.utc)
        self._publisher.stop(goodbye, timeout_seconds=DELIVERY_STOP_SECONDS)
        log.info("stopped", seconds=round(now.monotonic - self._started.monotonic, 1))

    def abandon(self) -> None:
        """Stop because something broke: the broker then says `offline`, and open episodes stay open."""
        self._stop_cameras()
        self._publisher.stop(None, timeout_seconds=1.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.stop()
        else:
            self.abandon()

    def _stop_cameras(self) -> None:
        deadline = self._clock().monotonic + CAMERA_STOP_SECONDS
        for camera in self._cameras:
            camera.pause()  # returns at once: they all close at the same time
        for camera in self._cameras:
            camera.stop(timeout_seconds=max(0.0, deadline - self._clock().monotonic))

    # --- frames and cameras ---------------------------------------------------------------

    def _take_frames(self) -> None:
        for camera in self._cameras:
            frame = camera.take()
            if frame is None:
                continue
            observation = self._pipeline.process(frame)
            self._scenes[camera.name].observation = observation
            self._last_frames[camera.name] = done = self._clock().monotonic
            self._health.count(frame, now=done)
            self._announce(observation.events, frame.instant)

    def _tick(self, now: Instant) -> None:
        self._commands.end_pause_when_due(now)
        for camera in self._cameras:
            state = camera.state
            self._announce(self._pipeline.check_camera(state, now=now), now)
            if state.status not in {CameraStatus.ONLINE, CameraStatus.DARK}:
                self._scenes[camera.name].clear()
            if state != self._told_cameras.get(camera.name):
                self._tell_camera(state, now)
                self._hurry_health(now)
        if now.monotonic >= self._next_health:
            self._tell_health(now)
        standstill = self._standstill(now)
        if standstill is None:
            self._manager.feed_watchdog(self._status_line())
        elif standstill != self._standing_still:
            log.error("standstill", what=standstill)
        self._standing_still = standstill

    def _tell_camera(self, state: CameraState, now: Instant) -> None:
        if state != self._told_cameras.get(state.camera):
            well = state.status in {CameraStatus.ONLINE, CameraStatus.DISABLED} or state.reason == OPENING
            why = {"reason": state.reason} if state.reason else {}
            (log.info if well else log.warning)("camera", camera=state.camera, status=state.status.value, **why)
        self._told_cameras[state.camera] = state
        self._publisher.publish(self._messages.camera(state, at=now.utc))

    def _tell_scenes(self, now: Instant) -> None:
        for name, scene in self._scenes.items():
            if scene.is_news(now=now.monotonic):
                people, not_observed = scene.tell(now=now.monotonic)
                self._publisher.publish(self._messages.state(name, people, not_observed=not_observed, at=now.utc))

    def _announce(self, events: Sequence[EpisodeEvent], now: Instant) -> None:
        for event in events:
            episode = event.episode
            (log.info if event.change is EpisodeChange.ENDED else log.warning)(
                f"alert {event.change}",
                text=describe(episode),
                severity=episode.severity.value,
                alert_id=episode.alert_id,
            )
            self._publisher.publish(self._messages.alert(event))
        if events:
            self._tell_active_alerts(now)
            self._hurry_health(now)

    def _hurry_health(self, now: Instant) -> None:
        """Report soon: what the last report said is no longer so."""
        self._next_health = min(self._next_health, now.monotonic + TICK_SECONDS)

    def _tell_active_alerts(self, now: Instant) -> None:
        self._publisher.publish(self._messages.active_alerts(self._pipeline.engine.open_episodes, at=now.utc))

    def _standstill(self, now: Instant) -> str | None:
        """Return what should move and doesn't: then the watchdog goes hungry, and systemd starts us anew.

        A camera that is known to be away is no standstill; one that claims to be online and brings nothing is.
        """
        for name, is_alive in self._vital.items():
            if not is_alive():
                return f"{name} has ended"
        for camera, config in zip(self._cameras, self._config.cameras, strict=True):
            state = camera.state
            if state.status not in {CameraStatus.ONLINE, CameraStatus.DARK} or camera.finished:
                self._last_frames[camera.name] = now.monotonic
            elif (
                now.monotonic - self._last_frames.get(camera.name, now.monotonic) > config.stall_seconds + GRACE_SECONDS
            ):
                return f"camera {camera.name} is {state.status} and brings no frame"
        return None

    # --- broker ---------------------------------------------------------------------------

    def _answer_broker(self) -> None:
        while True:
            try:
                event = self._publisher.events.get_nowait()
            except Empty:
                return
            now = self._clock()
            if isinstance(event, Connected):
                self._tell_everything(now)
            elif isinstance(event, CommandReceived) and (response := self._commands.answer(event, now)) is not None:
                self._publisher.publish(response, correlation_data=event.correlation_data)
                self._tell_active_alerts(now)
                self._hurry_health(now)
                self._next_tick = now.monotonic  # let every topic show at once what it has changed

    def _tell_everything(self, now: Instant) -> None:
        """The birth message and every state as it is now: the broker may have lost or kept what was true before."""
        self._publisher.publish(self._messages.availability("online", at=now.utc))
        for camera in self._cameras:
            self._tell_camera(camera.state, now)
            people, not_observed = self._scenes[camera.name].tell(now=now.monotonic)
            self._publisher.publish(self._messages.state(camera.name, people, not_observed=not_observed, at=now.utc))
        self._tell_active_alerts(now)
        self._tell_health(now)

    # --- health ---------------------------------------------------------------------------

    def _tell_health(self, now: Instant) -> None:
        self._next_health = now.monotonic + self._config.health.interval_seconds
        report = self._health.report(now, paused_until=self._commands.paused_until)
        self._publisher.publish(self._messages.health(report))

    def _status_line(self) -> str:
        cameras = ", ".join(f"{camera.name} {camera.state.status}" for camera in self._cameras)
        broker = "connected" if self._publisher.stats().connected else "not connected"
        return f"cameras: {cameras}; broker: {broker}; open alerts: {len(self._pipeline.engine.open_episodes)}"
