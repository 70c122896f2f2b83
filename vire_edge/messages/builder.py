"""Domain values → messages of one device."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from vire_edge.domain import (
    ABSENT_SECONDS,
    TROUBLE_SECONDS,
    CameraState,
    DeviceTrouble,
    EmotionState,
    Episode,
    EpisodeChange,
    EpisodeEvent,
    Message,
    Severity,
)
from vire_edge.messages.payloads import (
    ActiveAlertsPayload,
    AlertPayload,
    Availability,
    AvailabilityPayload,
    CameraPayload,
    HealthPayload,
    PersonPayload,
    ResponsePayload,
    StatePayload,
)
from vire_edge.messages.topics import Topics

ALERT_EXPIRY_SECONDS = {Severity.INFO: 3_600, Severity.WARNING: 86_400, Severity.CRITICAL: 604_800}
"""How long an alert is worth delivering: an hour, a day, a week."""
RESPONSE_EXPIRY_SECONDS = 60
"""Whoever asked has given up by then."""
_TROUBLES = {
    DeviceTrouble.MODEL: "faces cannot be judged",
    DeviceTrouble.DELIVERY: "alerts do not reach anybody",
    DeviceTrouble.STORAGE: "the disk fails, or what was on it was damaged",
}
"""In words for a carer."""


class Messages:
    """Builds every message that a device sends. Times are passed in; `paused_until` ends a pause of the cameras."""

    def __init__(self, topics: Topics) -> None:
        self.topics = topics

    def availability(self, status: Availability, *, at: datetime, paused_until: datetime | None = None) -> Message:
        """Whether the device is there."""
        payload = AvailabilityPayload(device_id=self.topics.device_id, at=at, status=status, paused_until=paused_until)
        return Message(self.topics.availability, payload.to_bytes(), retain=True)

    def state(
        self,
        camera: str,
        people: Sequence[EmotionState],
        *,
        not_observed: int,
        at: datetime,
        paused_until: datetime | None = None,
    ) -> Message:
        """The people whom a camera sees."""
        payload = StatePayload(
            device_id=self.topics.device_id,
            at=at,
            paused_until=paused_until,
            camera=camera,
            people=[
                PersonPayload(
                    track_id=person.track_id,
                    dominant=person.scores.dominant,
                    scores=person.scores.as_dict(),
                    observed_seconds=person.observed_seconds,
                )
                for person in people
            ],
            not_observed=not_observed,
        )
        return Message(self.topics.state(camera), payload.to_bytes(), retain=True)

    def camera(self, state: CameraState, *, at: datetime, paused_until: datetime | None = None) -> Message:
        """What a camera is doing."""
        payload = CameraPayload(
            device_id=self.topics.device_id,
            at=at,
            paused_until=paused_until,
            camera=state.camera,
            status=state.status,
            since=state.since,
            reason=state.reason,
        )
        return Message(self.topics.camera(state.camera), payload.to_bytes(), retain=True)

    def alert(self, event: EpisodeEvent) -> Message:
        """An episode's news."""
        payload = self._alert(event.episode, event.change, at=event.at.utc)
        expiry = ALERT_EXPIRY_SECONDS[event.episode.severity]
        severity = event.episode.severity
        return Message(self.topics.alerts, payload.to_bytes(), expiry_seconds=expiry, severity=severity)

    def readdress(self, alert: Message) -> Message:
        """Bring an alert that was kept under an earlier name or prefix of this device under those of today.

        Whoever watches over this device listens there, perhaps the broker allows nothing else, and the earlier name may
        be another device's by now. Which alert it is, and when it came up, stays.
        """
        if alert.topic == self.topics.alerts:
            return alert
        try:
            payload = json.loads(alert.payload) | {"device_id": self.topics.device_id}
        except (ValueError, TypeError):  # damaged on disk: it still tells that there was one
            return replace(alert, topic=self.topics.alerts)
        text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
        return replace(alert, topic=self.topics.alerts, payload=text.encode())

    def active_alerts(
        self, episodes: Sequence[Episode], *, at: datetime, paused_until: datetime | None = None
    ) -> Message:
        """The open episodes."""
        alerts = [
            self._alert(episode, EpisodeChange.UPDATED if episode.sequence else EpisodeChange.STARTED, at=at)
            for episode in episodes
        ]
        payload = ActiveAlertsPayload(device_id=self.topics.device_id, at=at, paused_until=paused_until, alerts=alerts)
        return Message(self.topics.active_alerts, payload.to_bytes(), retain=True)

    def health(self, payload: HealthPayload) -> Message:
        """The device's report on itself."""
        return Message(self.topics.health, payload.to_bytes(), retain=True)

    def response(
        self,
        verb: str,
        transaction: str | None,
        *,
        at: datetime,
        result: dict[str, Any] | None = None,
        error: str | None = None,
    ) -> Message:
        """The answer to a command; `error` when it was refused."""
        payload = ResponsePayload(
            device_id=self.topics.device_id,
            at=at,
            transaction=transaction,
            ok=error is None,
            error=error,
            result=result or {},
        )
        return Message(self.topics.response(verb), payload.to_bytes(), expiry_seconds=RESPONSE_EXPIRY_SECONDS)

    def _alert(self, episode: Episode, change: EpisodeChange, *, at: datetime) -> AlertPayload:
        return AlertPayload(
            device_id=self.topics.device_id,
            at=at,
            event=change,
            alert_id=episode.alert_id,
            sequence=episode.sequence,
            rule=episode.rule,
            severity=episode.severity,
            camera=episode.camera,
            text=describe(episode),
            started_at=episode.started_at,
            ended_at=episode.ended_at,
            end_reason=episode.end_reason,
            acknowledged_at=episode.acknowledged_at,
            level=episode.level,
            evidence=dict(episode.evidence),
            track_ids=list(episode.track_ids),
            coalesced=episode.coalesced,
            duration_seconds=episode.duration_seconds,
        )


def describe(episode: Episode) -> str:
    """One sentence for a person, without guessing at causes."""
    trouble = next((trouble for trouble in DeviceTrouble if trouble in episode.evidence), None)
    where = f" on camera {episode.camera}" if episode.camera is not None else "" if trouble else " on all cameras"
    if episode.ended_at is not None:
        reason = "" if episode.end_reason is None else f" ({episode.end_reason.value.replace('_', ' ')})"
        return f"{episode.rule}{where} is over after {_duration(episode.duration_seconds)}{reason}"
    if ABSENT_SECONDS in episode.evidence:
        return f"{episode.rule}{where}: nobody seen for {_duration(episode.evidence[ABSENT_SECONDS])}"
    if TROUBLE_SECONDS in episode.evidence:
        what = f"{_TROUBLES[trouble]}, " if trouble else ""
        return f"{episode.rule}{where}: {what}for {_duration(episode.evidence[TROUBLE_SECONDS])}"
    scores = sorted(episode.evidence.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{emotion} {probability:.0%}" for emotion, probability in scores[:3])
    return f"{episode.rule}{where}: {shown}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
