"""Rules, and the episodes in which they fire."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time

from vire_edge.domain.emotion import Emotion
from vire_edge.domain.frame import CameraStatus, Instant


class Severity(enum.StrEnum):
    """How urgent an alert is, from the mildest."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for the mildest."""
        return tuple(Severity).index(self)


@dataclass(frozen=True, slots=True)
class ActiveHours:
    """A daily interval of local time; one that ends before it starts runs over midnight."""

    start: time
    end: time

    def contain(self, local: time) -> bool:
        """Whether `local`, a time of day on the device's own clock, lies inside."""
        if self.start <= self.end:
            return self.start <= local < self.end
        return local >= self.start or local < self.end


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRule:
    """What all rules share. A rule's level rises to `threshold`, stays for `hold_seconds`, and an episode starts."""

    name: str
    severity: Severity
    threshold: float
    """The level, 0..1, from which the rule fires."""
    clear_threshold: float
    """The level under which it stops; lower than `threshold`, so that a level in between changes nothing."""
    hold_seconds: float
    """How long the level must stay before an episode starts; also how long it must stay cleared before it ends."""
    cooldown_seconds: float
    """After an episode's end, how long further ones are counted instead of announced."""
    escalate_after_seconds: float | None = None
    """When an episode has gone on for this long, unobserved time left out, it becomes `escalate_to`."""
    escalate_to: Severity = Severity.CRITICAL
    cameras: frozenset[str] = frozenset()
    """Cameras that the rule watches; empty for all."""

    def watches(self, camera: str) -> bool:
        """Whether this rule looks at `camera`."""
        return not self.cameras or camera in self.cameras


@dataclass(frozen=True, slots=True, kw_only=True)
class SustainedRule(AlertRule):
    """Level: the share of the observed time in the window in which the face showed one of `emotions`."""

    emotions: frozenset[Emotion]
    score: float
    """The smoothed probability, summed over `emotions`, from which a face counts as showing them."""
    window_seconds: float
    min_observed_seconds: float
    """With less observation than this in the window nothing is concluded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpikeRule(AlertRule):
    """Level: the smoothed probability, summed over `emotions`."""

    emotions: frozenset[Emotion]


@dataclass(frozen=True, slots=True, kw_only=True)
class AbsenceRule(AlertRule):
    """Level: active hours in which no camera saw a face, as a share of `absent_seconds`."""

    absent_seconds: float
    active_hours: ActiveHours


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraRule(AlertRule):
    """Level: 1 while the camera's status is one of `statuses` inside the active hours, else 0."""

    statuses: frozenset[CameraStatus]
    active_hours: ActiveHours | None


class DeviceTrouble(enum.StrEnum):
    """What can be wrong with the device itself."""

    MODEL = "model"
    """Faces cannot be judged."""
    DELIVERY = "delivery"
    """Alerts were given up, or nobody is there to hear them."""
    STORAGE = "storage"
    """What must survive a power cut cannot be kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRule(AlertRule):
    """Level: 1 while the device has this trouble, else 0. One trouble each, so that none hides behind another."""

    trouble: DeviceTrouble


ABSENT_SECONDS = "absent_seconds"
"""Evidence of an absence: active time in which nobody was seen."""
TROUBLE_SECONDS = "trouble_seconds"
"""Evidence of a camera or device rule: for how long the trouble has lasted while the device was running."""


class EndReason(enum.StrEnum):
    """Why an episode ended."""

    CLEARED = "cleared"
    OUT_OF_VIEW = "out_of_view"
    NOT_OBSERVED = "not_observed"
    CAMERA_DISABLED = "camera_disabled"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Episode:
    """An interval in which a rule fires."""

    alert_id: str
    """The same from start to end, unique for ever."""
    rule: str
    severity: Severity
    camera: str | None
    """None for a rule over all cameras or on the device itself."""
    started_at: datetime
    level: float
    """The rule's level when the episode last changed."""
    evidence: Mapping[str, float] = field(default_factory=dict)
    """Emotion → smoothed probability of the face that fired; or `ABSENT_SECONDS` or `TROUBLE_SECONDS`, with
    the `DeviceTrouble` of a device rule at 1."""
    track_ids: tuple[int, ...] = ()
    """The faces that took part, in order of appearance; after a restart those since then, as ids begin anew."""
    coalesced: int = 0
    """Earlier intervals of the same rule that the cooldown kept silent."""
    ended_at: datetime | None = None
    end_reason: EndReason | None = None
    acknowledged_at: datetime | None = None
    sequence: int = 0
    """Counts the events of this episode from 0."""
    duration_seconds: float = 0.0
    """From its start to its last event, restarts included. Not `ended_at` - `started_at`: between those two
    the clock may have been set."""


class EpisodeChange(enum.StrEnum):
    """What happened to an episode."""

    STARTED = "started"
    UPDATED = "updated"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class EpisodeEvent:
    """An episode that started, escalated or ended."""

    change: EpisodeChange
    episode: Episode
    at: Instant
