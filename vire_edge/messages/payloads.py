"""The payloads as pydantic models: the single source of the wire contract and its JSON Schema. None holds an image."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from vire_edge.domain import CameraStatus, Emotion, EndReason, EpisodeChange, Severity, Slowdown
from vire_edge.messages.commands import COMMANDS

SCHEMA_VERSION = 1
"""Rises when a payload changes in a way that an old receiver would misread."""


def iso_utc(moment: datetime) -> str:
    """Write an aware UTC time as every payload does: ISO 8601 with milliseconds and "Z"."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


Utc = Annotated[datetime, PlainSerializer(iso_utc, return_type=str, when_used="json")]
"""Aware UTC; `iso_utc` writes it."""
Rounded = Annotated[float, PlainSerializer(lambda value: round(value, 3), return_type=float, when_used="json")]

Availability = Literal["online", "stopped", "offline"]
"""Running; stopped on purpose; gone without a word (the last will)."""


class _Wire(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        populate_by_name=True,
        use_attribute_docstrings=True,
        json_schema_serialization_defaults_required=True,
    )


class Payload(_Wire):
    """What every payload carries."""

    topic: ClassVar[str]
    """The topic below `<prefix>/<device_id>/`, for the documentation."""

    schema_version: int = Field(default=SCHEMA_VERSION, alias="schema")
    """Version of this contract."""
    device_id: str
    """Which device speaks."""
    at: Utc
    """When."""

    def to_bytes(self) -> bytes:
        """The payload as UTF-8 JSON."""
        return self.model_dump_json(by_alias=True).encode()


class PausablePayload(Payload):
    """What every retained payload carries besides: whoever reads it knows why nothing moves."""

    paused_until: Utc | None = None
    """When the cameras open again by themselves; null while they are not paused."""


class AvailabilityPayload(PausablePayload):
    """Whether the device is there."""

    topic = "availability"
    status: Availability
    """online, stopped (on purpose) or offline (the broker lost it)."""


class PersonPayload(_Wire):
    """One face in view."""

    track_id: int
    """The same while this face stays in view; no identity."""
    dominant: Emotion
    """The most probable emotion."""
    scores: dict[Emotion, Rounded]
    """Smoothed probabilities; they sum to 1."""
    observed_seconds: Rounded
    """For how long the face has been judged in all."""


class StatePayload(PausablePayload):
    """The people whom a camera sees."""

    topic = "state/<camera>"
    camera: str
    people: list[PersonPayload]
    """Those whose emotion is known."""
    not_observed: int
    """Faces in view that were too small, blurred or dark to be judged."""


class CameraPayload(PausablePayload):
    """What a camera is doing."""

    topic = "camera/<camera>"
    camera: str
    status: CameraStatus
    since: Utc
    reason: str
    """Why, in a few words; empty when all is well."""


class AlertPayload(Payload):
    """An episode's news. A receiver drops repeats by `alert_id` and `sequence`."""

    topic = "alerts"
    event: EpisodeChange
    alert_id: str
    """One through the episode's life."""
    sequence: int
    """Counts the episode's events from 0."""
    rule: str
    severity: Severity
    camera: str | None
    """None for a rule over all cameras or on the device itself."""
    text: str
    """One sentence for a person."""
    started_at: Utc
    ended_at: Utc | None
    end_reason: EndReason | None
    acknowledged_at: Utc | None
    level: Rounded
    """The rule's measure, 0..1, when the episode last changed."""
    evidence: dict[str, Rounded]
    """What the rule saw: emotion → smoothed probability, or seconds; 1 for a trouble of the device."""
    track_ids: list[int]
    """The faces that took part."""
    coalesced: int
    """Earlier intervals that the cooldown kept silent."""
    duration_seconds: Rounded
    """From the start to the last event, measured on a clock that nobody sets."""


class ActiveAlertsPayload(PausablePayload):
    """The open episodes, for an app that connects late."""

    topic = "alerts/active"
    alerts: list[AlertPayload]


class CameraHealth(_Wire):
    """One camera's figures of the last ten seconds."""

    status: CameraStatus
    fps: Rounded | None
    """Frames looked at each second; null while the camera shows nothing or has only begun."""
    target_fps: Rounded
    """Frames that are to be looked at each second."""
    lowered_by: Slowdown | None
    """Why that is fewer than configured; null while it isn't."""
    dropped: int
    """Frames that a newer one replaced before they were looked at, since the start."""
    reopened: int
    """How often the camera had to be opened again, since the start."""
    latency_ms_p50: Rounded | None
    """From capture to the end of the analysis; null without frames."""
    latency_ms_p95: Rounded | None


class DeliveryHealth(_Wire):
    """The way to the broker, since the start."""

    protocol: str | None
    """MQTT version in use; null while there is no connection."""
    queued: int
    """Alerts and answers that the broker has not acknowledged yet."""
    delivered: int
    """Alerts that it has acknowledged: each start, escalation and end counts."""
    unheard: int
    """Of those queued: nobody is subscribed to alerts, as an MQTT 5 broker tells. They wait for somebody."""
    expired: int
    """Alerts that waited until nobody wanted them any more."""
    evicted: int
    """Alerts that had to go because too many waited: the mildest and oldest."""
    undeliverable: int
    """Alerts that the broker never takes, such as those too large for it."""
    refused: str
    """What the broker does not let the device publish or read, and the remedy; empty while it takes everything."""
    reconnects: int
    ignored_commands: int
    """Commands that came too fast to be answered, or whose name nobody could answer."""
    storage: str
    """Why alerts are kept in memory only, and the remedy; or that a damaged file was set aside since the start. Empty
    while all is well."""


class HealthPayload(PausablePayload):
    """The device's report on itself."""

    topic = "health"
    version: str
    model: str
    """Architecture and file name."""
    uptime_seconds: Rounded
    next_due_at: Utc
    """By when the next report has come, even over a slow link: later than that, something is wrong."""
    cameras: dict[str, CameraHealth]
    delivery: DeliveryHealth
    restarts: dict[str, int]
    """What stood still and was begun anew inside the daemon, and how often since the start."""
    cpu_percent: Rounded | None
    """Processor time that the daemon took in the last ten seconds; 100 is one core. Null while it has only begun."""
    memory_mb: Rounded
    """Resident memory in MiB."""
    temperature_c: Rounded | None
    """Of the processor; null where it cannot be read."""


class ResponsePayload(Payload):
    """The answer to a command."""

    topic = "response/<verb>"
    transaction: str | None
    """The request's own."""
    ok: bool
    error: str | None = None
    """What was wrong with the request, and what would be right."""
    result: dict[str, Any] = Field(default_factory=dict)
    """What the command brought about."""


_PAYLOADS = (
    AvailabilityPayload,
    StatePayload,
    CameraPayload,
    AlertPayload,
    ActiveAlertsPayload,
    HealthPayload,
    ResponsePayload,
)


def json_schemas() -> dict[str, dict[str, Any]]:
    """Topic below `<prefix>/<device_id>/` → JSON Schema of its payload, commands included."""
    sent = {kind.topic: kind.model_json_schema(by_alias=True, mode="serialization") for kind in _PAYLOADS}
    understood = {f"command/{verb}": kind.model_json_schema() for verb, kind in COMMANDS.items()}
    return sent | understood
