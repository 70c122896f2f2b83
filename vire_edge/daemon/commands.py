"""What a caregiver's app asks for is done and answered here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog

from vire_edge.alerts import AlertEngine
from vire_edge.daemon.health import HealthReporter
from vire_edge.daemon.ports import Camera, Memory, Recalled
from vire_edge.daemon.teller import ALERTS_KEY
from vire_edge.daemon.transactions import Transactions
from vire_edge.domain import Instant, Message
from vire_edge.messages import (
    MAX_AGE_SECONDS,
    MAX_PAUSE_MINUTES,
    AcknowledgeCommand,
    Command,
    CommandError,
    Messages,
    PauseCommand,
    ResumeCommand,
    StatusCommand,
    iso_utc,
    parse_command,
)
from vire_edge.mqtt import AT_ONCE, CommandReceived

PAUSE_KEY = "pause"
"""Under which the seconds that are left of a pause are remembered."""
NOTE_SECONDS = 60.0
"""How often they are noted: what a reboot with a wrong clock can add to a pause or take from it."""
CLOCK_SET_SECONDS = 1.0
"""Clocks that differ by more since a pause began were set: what people are told of its end is set, too."""

log = structlog.get_logger()


def pause_seconds_left(noted: Recalled) -> float:
    """Return what is left of a pause that was noted under `PAUSE_KEY`, not above 0 once it is over.

    Raises:
        ValueError: it cannot be read.
    """
    return min(float(noted.value), MAX_PAUSE_MINUTES * 60) - noted.elapsed_seconds


class Commands:
    """Carries out commands.

    Args:
        cameras: what a pause closes.
        engine: knows the open alerts.
        health: makes the report that `status` asks for.
        messages: builds the answers.
        memory: keeps a pause, and what was carried out, over a restart.
    """

    def __init__(
        self,
        cameras: Sequence[Camera],
        engine: AlertEngine,
        health: HealthReporter,
        messages: Messages,
        *,
        memory: Memory,
    ) -> None:
        self._cameras = cameras
        self._engine = engine
        self._health = health
        self._messages = messages
        self._memory = memory
        self._paused_until: Instant | None = None
        self._noted_at = float("-inf")
        self._carried_out = Transactions(memory)

    @property
    def paused_until(self) -> datetime | None:
        """When a pause ends by itself; None without one."""
        return None if self._paused_until is None else self._paused_until.utc

    def restore(self, now: Instant) -> None:
        """Go on with a pause of before a restart. Call it before the cameras start: then not one frame is captured."""
        self._carried_out.restore(now)
        recalled = self._memory.recall(PAUSE_KEY, now=now)
        if recalled is None:
            return
        try:
            left = pause_seconds_left(recalled)
        except ValueError:
            log.warning("what was remembered of a pause cannot be read", key=PAUSE_KEY)
            return
        if left > 0:
            self._pause(left, now)

    def answer(self, received: CommandReceived, now: Instant) -> Message | None:
        """Carry out a command; return the answer, or None where nobody waits for one."""
        try:
            command = self._read(received, now)
            result = self._carry_out(command, now)
        except CommandError as error:
            log.warning("command refused", verb=received.verb[:32], reason=str(error))
            if received.retained:
                return None
            return self._messages.response(received.verb, error.transaction, at=now.utc, error=str(error))
        log.info("command", verb=received.verb)
        return self._messages.response(received.verb, command.transaction, at=now.utc, result=result)

    def end_pause_when_due(self, now: Instant) -> None:
        """Open the cameras again when the pause is over; note what is left of it until then. Call it each second."""
        if self._paused_until is None:
            return
        if now.monotonic >= self._paused_until.monotonic:
            self._resume(now)
        elif now.monotonic - self._noted_at >= NOTE_SECONDS:
            self._note_pause(now)

    def _read(self, received: CommandReceived, now: Instant) -> Command:
        """Read a command, and refuse one that comes too fast, too late or again."""
        command = parse_command(received.verb, received.payload, retained=received.retained)
        if received.too_fast:
            raise CommandError(
                f"too many commands: {AT_ONCE} of one kind are taken at once and then one a second; send fewer",
                command.transaction,
            )
        if command.transaction is not None and command.transaction in self._carried_out:
            raise CommandError(
                "this transaction was carried out already; a new command needs a transaction of its own",
                command.transaction,
            )
        if command.sent_at is not None and abs((now.utc - command.sent_at).total_seconds()) > MAX_AGE_SECONDS:
            raise CommandError(
                f"sent_at is more than {MAX_AGE_SECONDS:.0f} s from this device's clock, {iso_utc(now.utc)}; "
                "set the clock that is wrong, or leave sent_at out",
                command.transaction,
            )
        return command

    def _carry_out(self, command: Command, now: Instant) -> dict[str, Any]:
        result = self._do(command, now)
        if command.transaction is not None:
            self._carried_out.add(command.transaction, changes=not isinstance(command, StatusCommand), now=now)
        return result

    def _do(self, command: Command, now: Instant) -> dict[str, Any]:
        match command:
            case AcknowledgeCommand():
                episode = self._engine.acknowledge(command.alert_id, now=now)
                if episode is None:
                    raise CommandError(
                        f"no open alert has the id {command.alert_id!a}; alerts/active lists those that are open",
                        command.transaction,
                    )
                # Before the transaction: whoever asks again, because no answer came, is answered again.
                self._memory.remember(ALERTS_KEY, self._engine.snapshot(now), now=now)
                return {"alert_id": episode.alert_id, "acknowledged_at": iso_utc(episode.acknowledged_at or now.utc)}
            case PauseCommand():
                return {"paused": True, "until": iso_utc(self._pause(command.minutes * 60, now))}
            case ResumeCommand():
                self._resume(now)
                return {"paused": False}
        return self._health.report(now, paused_until=self.paused_until).model_dump(mode="json", by_alias=True)

    def _pause(self, seconds: float, now: Instant) -> datetime:
        """Close the cameras; return when they open again."""
        until = now.utc + timedelta(seconds=seconds)
        self._paused_until = Instant(now.monotonic + seconds, until)
        for camera in self._cameras:
            camera.pause()
        log.info("paused", until=iso_utc(until))
        self._note_pause(now)
        return until

    def _resume(self, now: Instant) -> None:
        if self._paused_until is None:
            return
        self._paused_until = None
        for camera in self._cameras:
            camera.resume()
        log.info("resumed")
        self._note_pause(now)

    def _note_pause(self, now: Instant) -> None:
        """Remember how much is left: a span, because the clock may be set in between."""
        self._noted_at = now.monotonic
        left = 0.0
        if self._paused_until is not None:
            left = self._paused_until.monotonic - now.monotonic
            until = now.utc + timedelta(seconds=left)
            if abs((until - self._paused_until.utc).total_seconds()) > CLOCK_SET_SECONDS:
                self._paused_until = Instant(self._paused_until.monotonic, until)
        self._memory.remember(PAUSE_KEY, f"{left:.1f}", now=now)
