"""What a caregiver's app asks for is done and answered here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog

from vire_edge.alerts import AlertEngine
from vire_edge.daemon.health import HealthReporter
from vire_edge.daemon.ports import Camera
from vire_edge.domain import Instant, Message
from vire_edge.messages import (
    AcknowledgeCommand,
    Command,
    CommandError,
    Messages,
    PauseCommand,
    ResumeCommand,
    iso_utc,
    parse_command,
)
from vire_edge.mqtt import CommandReceived

log = structlog.get_logger()


class Commands:
    """Carries out commands.

    Args:
        cameras: what a pause closes.
        engine: knows the open alerts.
        health: makes the report that `status` asks for.
        messages: builds the answers.
    """

    def __init__(
        self, cameras: Sequence[Camera], engine: AlertEngine, health: HealthReporter, messages: Messages
    ) -> None:
        self._cameras = cameras
        self._engine = engine
        self._health = health
        self._messages = messages
        self._paused_until: Instant | None = None

    @property
    def paused_until(self) -> datetime | None:
        """When a pause ends by itself; None without one."""
        return None if self._paused_until is None else self._paused_until.utc

    def answer(self, received: CommandReceived, now: Instant) -> Message | None:
        """Carry out a command; return the answer, or None where nobody waits for one."""
        try:
            command = parse_command(received.verb, received.payload, retained=received.retained)
            result = self._carry_out(command, now)
        except CommandError as error:
            log.warning("command refused", verb=received.verb[:32], reason=str(error))
            if received.retained:
                return None
            return self._messages.response(received.verb, error.transaction, at=now.utc, error=str(error))
        log.info("command", verb=received.verb)
        return self._messages.response(received.verb, command.transaction, at=now.utc, result=result)

    def end_pause_when_due(self, now: Instant) -> None:
        """Open the cameras again when the pause is over."""
        if self._paused_until is not None and now.monotonic >= self._paused_until.monotonic:
            self._resume()

    def _carry_out(self, command: Command, now: Instant) -> dict[str, Any]:
        match command:
            case AcknowledgeCommand():
                episode = self._engine.acknowledge(command.alert_id, now=now)
                if episode is None:
                    raise CommandError(f"no open alert has the id {command.alert_id!a}", command.transaction)
                return {"alert_id": episode.alert_id, "acknowledged_at": iso_utc(episode.acknowledged_at or now.utc)}
            case PauseCommand():
                return self._pause(command.minutes, now)
            case ResumeCommand():
                self._resume()
                return {"paused": False}
        return self._health.report(now, paused_until=self.paused_until).model_dump(mode="json", by_alias=True)

    def _pause(self, minutes: float, now: Instant) -> dict[str, Any]:
        self._paused_until = Instant(now.monotonic + minutes * 60, now.utc + timedelta(minutes=minutes))
        for camera in self._cameras:
            camera.pause()
        until = iso_utc(self._paused_until.utc)
        log.info("paused", until=until)
        return {"paused": True, "until": until}

    def _resume(self) -> None:
        if self._paused_until is None:
            return
        self._paused_until = None
        for camera in self._cameras:
            camera.resume()
        log.info("resumed")
