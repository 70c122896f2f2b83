"""What the daemon tells of its cameras, scenes and alerts, each at the right moment.

An alert is in the outbox, on disk, before anything else learns of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import structlog

from vire_edge.alerts import AlertEngine
from vire_edge.daemon.ports import Camera, Outbox, Publisher
from vire_edge.daemon.scene import Scene
from vire_edge.domain import OPENING, CameraState, CameraStatus, EpisodeChange, EpisodeEvent, Instant
from vire_edge.messages import Messages, describe
from vire_edge.pipeline import Observation

ALERTS_KEY = "alerts"
"""Under which the engine's memory is kept in the outbox."""

log = structlog.get_logger()


class Teller:
    """Publishes what has changed.

    Args:
        cameras: those to tell of.
        engine: knows the open alerts.
        outbox: keeps alerts until they are delivered, and the engine's memory with them.
        publisher: takes messages to the broker.
        messages: builds them.
        paused_until: when a pause ends; None without one.
    """

    def __init__(
        self,
        cameras: Sequence[Camera],
        *,
        engine: AlertEngine,
        outbox: Outbox,
        publisher: Publisher,
        messages: Messages,
        paused_until: Callable[[], datetime | None],
    ) -> None:
        self._cameras = cameras
        self._engine = engine
        self._outbox = outbox
        self._publisher = publisher
        self._messages = messages
        self._paused_until = paused_until
        self._scenes = {camera.name: Scene() for camera in cameras}
        self._told: dict[str, CameraState] = {}

    def observed(self, observation: Observation) -> None:
        """Take in what a frame showed."""
        self._scenes[observation.camera].observation = observation

    def announce(self, events: Sequence[EpisodeEvent], *, at: Instant, now: Instant) -> bool:
        """Keep the news of episodes, then tell them; whether there were any.

        Args:
            events: in their order.
            at: the moment that the alert engine has reached; a recording's own time.
            now: the clocks on the wall.
        """
        if not events:
            return False
        self._outbox.append(
            [self._messages.alert(event) for event in events],
            now=now,
            memory={ALERTS_KEY: self._engine.snapshot(at)},
        )
        self._publisher.deliver()
        for event in events:
            episode = event.episode
            (log.info if event.change is EpisodeChange.ENDED else log.warning)(
                f"alert {event.change}",
                text=describe(episode),
                severity=episode.severity.value,
                alert_id=episode.alert_id,
                sequence=episode.sequence,
            )
        self.tell_active_alerts(now)
        return True

    def tell_active_alerts(self, now: Instant) -> None:
        """The open episodes as they are now."""
        episodes = self._engine.open_episodes
        self._publisher.publish(self._messages.active_alerts(episodes, at=now.utc, paused_until=self._paused_until()))

    def tell_cameras(self, now: Instant) -> bool:
        """The states that have changed; whether any has."""
        changed = [camera.state for camera in self._cameras if camera.state != self._told.get(camera.name)]
        for state in changed:
            self._tell_camera(state, now)
        return bool(changed)

    def tell_scenes(self, now: Instant) -> None:
        """Who is in view, where that has changed."""
        for camera in self._cameras:
            if self._scene(camera).is_news(now=now.monotonic):
                self._tell_scene(camera, now)

    def tell_everything(self, now: Instant) -> None:
        """The birth message and every state as it is now: the broker may have lost or kept what was true before."""
        self._publisher.publish(self._messages.availability("online", at=now.utc, paused_until=self._paused_until()))
        for camera in self._cameras:
            self._tell_camera(camera.state, now)
            self._tell_scene(camera, now)
        self.tell_active_alerts(now)

    def tell_end(self, now: Instant) -> None:
        """Retained: what was seen last is not what is seen now."""
        for camera in self._cameras:
            self._scenes[camera.name].clear()
            self._tell_scene(camera, now)
            self._tell_camera(CameraState(camera.name, CameraStatus.DISABLED, now.utc, "the daemon has stopped"), now)

    def _scene(self, camera: Camera) -> Scene:
        """What a camera shows: nobody while it is closed or away."""
        scene = self._scenes[camera.name]
        if camera.state.status not in {CameraStatus.ONLINE, CameraStatus.DARK}:
            scene.clear()
        return scene

    def _tell_scene(self, camera: Camera, now: Instant) -> None:
        people, not_observed = self._scene(camera).tell(now=now.monotonic)
        self._publisher.publish(
            self._messages.state(
                camera.name, people, not_observed=not_observed, at=now.utc, paused_until=self._paused_until()
            )
        )

    def _tell_camera(self, state: CameraState, now: Instant) -> None:
        if state != self._told.get(state.camera):
            well = state.status in {CameraStatus.ONLINE, CameraStatus.DISABLED} or state.reason == OPENING
            why = {"reason": state.reason} if state.reason else {}
            (log.info if well else log.warning)("camera", camera=state.camera, status=state.status.value, **why)
        self._told[state.camera] = state
        self._publisher.publish(self._messages.camera(state, at=now.utc, paused_until=self._paused_until()))
