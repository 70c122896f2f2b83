"""The one main loop: frames → observations → messages; commands, health and the watchdog in between.

Cameras and the broker's connection live in threads of their own and wake this loop; whatever decides
anything happens here, in one thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from queue import Empty
from types import TracebackType
from typing import Self

import structlog

from vire_edge.alerts import AlertEngine
from vire_edge.clock import read_clocks
from vire_edge.config import Config
from vire_edge.daemon.analysis import Analysis
from vire_edge.daemon.commands import Commands
from vire_edge.daemon.frame_progress import FrameProgress
from vire_edge.daemon.frame_rates import FrameRates
from vire_edge.daemon.health import HealthReporter
from vire_edge.daemon.ports import Camera, Outbox, Publisher
from vire_edge.daemon.supervision import Part, Supervisor
from vire_edge.daemon.systemd import ServiceManager
from vire_edge.daemon.teller import ALERTS_KEY, Teller
from vire_edge.daemon.trouble import TroubleWatch
from vire_edge.domain import Instant
from vire_edge.messages import Messages
from vire_edge.mqtt import CommandReceived, Connected

TICK_SECONDS = 1.0
"""How often cameras are checked, frames or not."""
REMEMBER_SECONDS = 60.0
"""How often the engine's memory is kept without an event: an absence of hours loses no more than this in a crash."""
CAMERA_STOP_SECONDS = 1.0
DELIVERY_STOP_SECONDS = 5.0
"""What closing all cameras and delivering the rest may take: systemd allows fifteen in all."""

log = structlog.get_logger()


class Daemon:
    """Watches, until it is told to stop or all its files are read.

    Args:
        config: the configuration.
        cameras: one for each configured camera; they set `wake`.
        analysis: everything between a frame and an episode.
        engine: the alert rules, those of `analysis`.
        outbox: what must survive, on disk.
        publisher: takes messages to the broker; sets `wake`.
        messages: builds the messages.
        model: what the health report says of the model.
        wake: set by whoever has something for the main loop.
        manager: systemd, if it started us.
        parts: what must move beside cameras and analysis, and how each is begun anew.
        clock: reads both clocks.
    """

    def __init__(
        self,
        config: Config,
        *,
        cameras: Sequence[Camera],
        analysis: Analysis,
        engine: AlertEngine,
        outbox: Outbox,
        publisher: Publisher,
        messages: Messages,
        model: str,
        wake: threading.Event,
        manager: ServiceManager | None = None,
        parts: Sequence[Part] = (),
        clock: Callable[[], Instant] = read_clocks,
    ) -> None:
        self._config = config
        self._cameras = cameras
        self._analysis = analysis
        self._engine = engine
        self._outbox = outbox
        self._publisher = publisher
        self._messages = messages
        self._wake = wake
        self._manager = manager or ServiceManager({})
        self._clock = clock
        # A plain flag: an Event's lock is not reentrant, and a signal may arrive while this thread holds it.
        self._stop_requested = False
        self._progress = {
            camera.name: FrameProgress(camera, stall_seconds=one.stall_seconds)
            for camera, one in zip(cameras, config.cameras, strict=True)
        }
        self._started = clock()
        own = [Part("the pipeline", analysis.complaint, analysis.restart)]
        own += [
            Part(f"camera {camera.name}", self._progress[camera.name].complaint, camera.restart) for camera in cameras
        ]
        self._supervisor = Supervisor([*own, *parts])
        self._trouble = TroubleWatch(analysis, outbox, publisher)
        self._rates = FrameRates(cameras, config)
        self._health = HealthReporter(
            device_id=messages.topics.device_id,
            cameras=cameras,
            publisher=publisher,
            outbox=outbox,
            supervisor=self._supervisor,
            rates=self._rates,
            interval_seconds=config.health.interval_seconds,
            model=model,
            started=self._started,
        )
        self._commands = Commands(cameras, engine, self._health, messages, memory=outbox)
        self._teller = Teller(
            cameras,
            engine=engine,
            outbox=outbox,
            publisher=publisher,
            messages=messages,
            paused_until=lambda: self._commands.paused_until,
        )
        self._told_pause: datetime | None = None
        self._next_tick = float("-inf")
        self._next_health = float("-inf")
        self._next_memory = self._started.monotonic + REMEMBER_SECONDS

    def request_stop(self) -> None:
        """End `run` within a tick; safe in a signal handler."""
        self._stop_requested = True

    def start(self) -> None:
        """Start everything; neither a missing webcam nor a missing broker delays it.

        Raises:
            CameraError: a file or folder of pictures cannot be read.
            ConfigError: a certificate or key cannot be read.
        """
        now = self._clock()
        self._commands.restore(now)  # before a camera opens: a pause outlasts a restart
        self._restore_alerts(now)
        self._publisher.start()
        for camera in self._cameras:
            camera.start()
        self._manager.ready()
        log.info("started", device=self._messages.topics.device_id, cameras=[c.name for c in self._cameras])

    def run(self) -> None:
        """Work until told to stop, or until every camera is a file that has been read to its end.

        Raises:
            StandstillError: a part stands still, and beginning it anew does not help.
        """
        while not self._stop_requested:
            self._wake.wait(timeout=max(0.0, min(TICK_SECONDS, self._next_tick - self._clock().monotonic)))
            self._wake.clear()
            self._take_frames()
            self._answer_broker()
            now = self._clock()
            if now.monotonic >= self._next_tick:
                self._next_tick = now.monotonic + TICK_SECONDS
                self._tick(now)
            self._teller.tell_scenes(now)
            if all(camera.finished for camera in self._cameras):
                log.info("all recordings are read to their end")
                break

    def stop(self) -> None:
        """Stop on purpose; leaves `stopped` on the availability topic, nobody in view and no open episode behind."""
        self._manager.stopping()
        self._stop_cameras()
        now = self._clock()
        self._teller.announce(self._analysis.stop(now=now), at=now, now=now)
        self._remember_alerts(now)
        self._teller.tell_end(now)
        goodbye = self._messages.availability("stopped", at=now.utc)
        self._publisher.stop(goodbye, timeout_seconds=DELIVERY_STOP_SECONDS)
        log.info("stopped", seconds=round(now.monotonic - self._started.monotonic, 1))

    def abandon(self) -> None:
        """Stop because something broke: the broker then says `offline`, and open episodes stay open."""
        self._stop_cameras()
        self._remember_alerts(self._clock())  # what is wrong now may be so after the restart
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

    def _restore_alerts(self, now: Instant) -> None:
        recalled = self._outbox.recall(ALERTS_KEY, now=now)
        if recalled is None:
            return
        try:
            events = self._engine.restore(recalled.value, elapsed_seconds=recalled.elapsed_seconds, now=now)
        except ValueError as error:
            log.warning("open alerts could not be restored", reason=str(error))
            return
        self._teller.announce(events, at=now, now=now)

    # --- frames and cameras ---------------------------------------------------------------

    def _take_frames(self) -> None:
        for camera in self._cameras:
            frame = camera.take()
            if frame is None:
                continue
            taken = self._clock().monotonic
            self._progress[camera.name].frame(taken)
            observation = self._analysis.process(frame, now=taken)
            if observation is None:
                continue
            now = self._clock()
            self._teller.observed(observation)
            self._rates.observed(observation, now=now.monotonic)
            self._health.count(frame, now=now.monotonic)
            if self._teller.announce(observation.events, at=frame.instant, now=now):
                self._hurry_health(now)

    def _tick(self, now: Instant) -> None:
        self._commands.end_pause_when_due(now)
        self._outbox.tend(now)
        self._rates.tick(now.monotonic)
        events = [event for camera in self._cameras for event in self._analysis.check_camera(camera.state, now=now)]
        events += self._engine.check_device(self._trouble.look(now.monotonic), now=now)
        news = self._teller.announce(events, at=now, now=now)
        if self._teller.tell_cameras(now) or news:
            self._hurry_health(now)
        if self._commands.paused_until != self._told_pause:  # it began, ended, or the clock was set
            self._told_pause = self._commands.paused_until
            self._teller.tell_everything(now)
            self._tell_health(now)
        if now.monotonic >= self._next_memory:
            self._remember_alerts(now)
        if now.monotonic >= self._next_health:
            self._tell_health(now)
        if self._supervisor.check(now.monotonic):
            self._manager.feed_watchdog(self._status_line())

    def _remember_alerts(self, now: Instant) -> None:
        self._next_memory = now.monotonic + REMEMBER_SECONDS
        self._outbox.remember(ALERTS_KEY, self._engine.snapshot(now), now=now)

    # --- broker ---------------------------------------------------------------------------

    def _answer_broker(self) -> None:
        while True:
            try:
                event = self._publisher.events.get_nowait()
            except Empty:
                return
            now = self._clock()
            if isinstance(event, Connected):
                self._teller.tell_everything(now)
                self._tell_health(now)
            elif isinstance(event, CommandReceived):
                self._obey(event, now)

    def _obey(self, command: CommandReceived, now: Instant) -> None:
        response = self._commands.answer(command, now)
        if response is None:
            return
        self._publisher.publish(response, correlation_data=command.correlation_data)
        self._teller.tell_active_alerts(now)
        self._hurry_health(now)
        self._next_tick = now.monotonic  # let every topic show at once what it has changed

    # --- health ---------------------------------------------------------------------------

    def _hurry_health(self, now: Instant) -> None:
        """Report soon: what the last report said is no longer so."""
        self._next_health = min(self._next_health, now.monotonic + TICK_SECONDS)

    def _tell_health(self, now: Instant) -> None:
        self._next_health = now.monotonic + self._config.health.interval_seconds
        report = self._health.report(now, paused_until=self._commands.paused_until)
        self._publisher.publish(self._messages.health(report))

    def _status_line(self) -> str:
        cameras = ", ".join(f"{camera.name} {camera.state.status}" for camera in self._cameras)
        broker = "connected" if self._publisher.stats().connected else "not connected"
        return f"cameras: {cameras}; broker: {broker}; open alerts: {len(self._engine.open_episodes)}"
