"""The one main loop: frames → observations → messages; commands, health and the watchdog in between.

Cameras and the broker's connection live in threads of their own and wake this loop; whatever decides
anything happens here, in one thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from queue import Empty
from typing import Any

import structlog

from vire_edge.config import Config
from vire_edge.daemon.clock import read_clocks
from vire_edge.daemon.health import HealthReporter
from vire_edge.daemon.ports import Camera, Publisher
from vire_edge.daemon.scene import Scene
from vire_edge.daemon.systemd import ServiceManager
from vire_edge.domain import CameraState, CameraStatus, EpisodeEvent, Instant
from vire_edge.messages import (
    AcknowledgeCommand,
    Command,
    CommandError,
    Messages,
    PauseCommand,
    ResumeCommand,
    parse_command,
)
from vire_edge.mqtt import CommandReceived, Connected
from vire_edge.pipeline import Pipeline

TICK_SECONDS = 1.0
"""How often cameras are checked, frames or not."""
GRACE_SECONDS = 10.0
"""How much longer than its `stall_seconds` an online camera may bring nothing before that is our own fault."""
STOP_SECONDS = 6.0
"""What a clean stop may take for delivery: systemd allows ten seconds in all."""

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
        clock: Callable[[], Instant] = read_clocks,
    ) -> None:
        self._config = config
        self._cameras = cameras
        self._pipeline = pipeline
        self._publisher = publisher
        self._messages = messages
        self._wake = wake
        self._manager = manager or ServiceManager({})
        self._clock = clock
        # A plain flag: an Event's lock is not reentrant, and a signal may arrive while this thread holds it.
        self._stop_requested = False
        self._scenes = {camera.name: Scene() for camera in cameras}
        self._told_cameras: dict[str, CameraState] = {}
        self._last_frames: dict[str, float] = {}
        self._paused_until: float | None = None
        self._started = clock()
        self._health = HealthReporter(
            device_id=messages.topics.device_id,
            cameras=cameras,
            publisher=publisher,
            interval_seconds=config.health.interval_seconds,
            model=model,
            started=self._started,
        )
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
        """Stop everything; leaves `stopped` on the availability topic and no open episode behind."""
        self._manager.stopping()
        now = self._clock()
        for camera in self._cameras:
            camera.stop(timeout_seconds=1.0)
        self._announce(self._pipeline.engine.stop(now=now), now)
        for name in self._scenes:  # retained: what was seen last is not what is seen now
            self._publisher.publish(self._messages.state(name, (), not_observed=0, at=now.utc))
        self._publisher.stop(self._messages.availability("stopped", at=now.utc), timeout_seconds=STOP_SECONDS)
        log.info("stopped", seconds=round(self._clock().monotonic - self._started.monotonic, 1))

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
        if self._paused_until is not None and now.monotonic >= self._paused_until:
            self._resume(now)
        for camera in self._cameras:
            state = camera.state
            self._announce(self._pipeline.check_camera(state, now=now), now)
            if state.status not in {CameraStatus.ONLINE, CameraStatus.DARK}:
                self._scenes[camera.name].clear()
            if state != self._told_cameras.get(camera.name):
                self._tell_camera(state, now)
        if now.monotonic >= self._next_health:
            self._next_health = now.monotonic + self._config.health.interval_seconds
            self._publisher.publish(self._messages.health(self._health.report(now)))
        if (standstill := self._standstill(now)) is None:
            self._manager.feed_watchdog(self._status_line())
        else:
            log.error("standstill", what=standstill)

    def _tell_camera(self, state: CameraState, now: Instant) -> None:
        self._told_cameras[state.camera] = state
        level = log.info if state.status in {CameraStatus.ONLINE, CameraStatus.DISABLED} else log.warning
        level("camera", camera=state.camera, status=state.status.value, reason=state.reason)
        self._publisher.publish(self._messages.camera(state, at=now.utc))

    def _tell_scenes(self, now: Instant) -> None:
        for name, scene in self._scenes.items():
            if scene.is_news(now=now.monotonic):
                people, not_observed = scene.tell(now=now.monotonic)
                self._publisher.publish(self._messages.state(name, people, not_observed=not_observed, at=now.utc))

    def _announce(self, events: Sequence[EpisodeEvent], now: Instant) -> None:
        for event in events:
            episode = event.episode
            log.warning(
                "alert",
                change=event.change.value,
                rule=episode.rule,
                severity=episode.severity.value,
                camera=episode.camera,
                alert_id=episode.alert_id,
            )
            self._publisher.publish(self._messages.alert(event))
        if events:
            self._tell_active_alerts(now)

    def _tell_active_alerts(self, now: Instant) -> None:
        self._publisher.publish(self._messages.active_alerts(self._pipeline.engine.open_episodes, at=now.utc))

    def _standstill(self, now: Instant) -> str | None:
        """Return what should move and doesn't: then the watchdog goes hungry, and systemd starts us anew.

        A camera that is known to be away is no standstill; one that claims to be online and brings nothing is.
        """
        if not self._publisher.alive:
            return "the thread of the connection to the broker has ended"
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
            elif isinstance(event, CommandReceived):
                self._answer(event, now)

    def _tell_everything(self, now: Instant) -> None:
        """The birth message and every state as it is now: the broker may have lost or kept what was true before."""
        self._publisher.publish(self._messages.availability("online", at=now.utc))
        for camera in self._cameras:
            self._told_cameras[camera.name] = camera.state
            self._publisher.publish(self._messages.camera(camera.state, at=now.utc))
            people, not_observed = self._scenes[camera.name].tell(now=now.monotonic)
            self._publisher.publish(self._messages.state(camera.name, people, not_observed=not_observed, at=now.utc))
        self._tell_active_alerts(now)
        self._publisher.publish(self._messages.health(self._health.report(now)))

    def _answer(self, received: CommandReceived, now: Instant) -> None:
        try:
            command = parse_command(received.verb, received.payload, retained=received.retained)
            result = self._carry_out(command, now)
        except CommandError as error:
            log.warning("command refused", verb=received.verb[:32], reason=str(error))
            if not received.retained:  # nobody waits for the answer to an old one
                response = self._messages.response(received.verb, error.transaction, at=now.utc, error=str(error))
                self._publisher.publish(response)
            return
        log.info("command", verb=received.verb)
        self._publisher.publish(self._messages.response(received.verb, command.transaction, at=now.utc, result=result))

    def _carry_out(self, command: Command, now: Instant) -> dict[str, Any]:
        match command:
            case AcknowledgeCommand():
                episode = self._pipeline.engine.acknowledge(command.alert_id, now=now)
                if episode is None:
                    raise CommandError(f"no open alert has the id {command.alert_id!r}", command.transaction)
                self._tell_active_alerts(now)
                return {"alert_id": episode.alert_id, "acknowledged_at": _iso(episode.acknowledged_at or now.utc)}
            case PauseCommand():
                return self._pause(command.minutes, now)
            case ResumeCommand():
                self._resume(now)
                return {"paused": False}
        return self._health.report(now).model_dump(mode="json", by_alias=True)

    def _pause(self, minutes: float, now: Instant) -> dict[str, Any]:
        self._paused_until = now.monotonic + minutes * 60
        for camera in self._cameras:
            camera.pause()
        self._next_tick = now.monotonic  # let every topic show it at once
        until = now.utc + timedelta(minutes=minutes)
        log.info("paused", until=_iso(until))
        return {"paused": True, "until": _iso(until)}

    def _resume(self, now: Instant) -> None:
        if self._paused_until is None:
            return
        self._paused_until = None
        for camera in self._cameras:
            camera.resume()
        self._next_tick = now.monotonic
        log.info("resumed")

    # --- health ---------------------------------------------------------------------------

    def _status_line(self) -> str:
        cameras = ", ".join(f"{camera.name} {camera.state.status}" for camera in self._cameras)
        broker = "connected" if self._publisher.stats().connected else "not connected"
        return f"cameras: {cameras}; broker: {broker}; open alerts: {len(self._pipeline.engine.open_episodes)}"


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
