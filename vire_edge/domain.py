"""The nouns: frozen values that flow from the camera to the caregiver. No I/O, no clock, no pydantic."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment on both clocks.

    Durations are measured on `monotonic`, so that a clock set forward or back neither fires
    nor suppresses a rule; `utc` is what people are told.
    """

    monotonic: float
    """Seconds since an arbitrary start; never runs backwards."""
    utc: datetime
    """Aware, UTC."""


# --- frame ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture from one camera."""

    camera: str
    image: NDArray[np.uint8]
    """`[height, width, 3]` BGR, or `[height, width]` gray."""
    captured_at: datetime
    """Aware, UTC."""
    monotonic: float
    """Seconds on the clock that durations are measured on; media time for a file read faster than it plays."""

    @property
    def instant(self) -> Instant:
        """When the frame was captured."""
        return Instant(self.monotonic, self.captured_at)


class CameraStatus(enum.StrEnum):
    """What a camera is doing."""

    ONLINE = "online"
    RECONNECTING = "reconnecting"
    STALLED = "stalled"
    DARK = "dark"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class CameraState:
    """A camera's status, since when and why."""

    camera: str
    status: CameraStatus
    since: datetime
    reason: str = ""


# --- face -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BoundingBox:
    """A rectangle in pixels, measured from the image's top left."""

    x: int
    y: int
    width: int
    height: int

    @property
    def area(self) -> int:
        """Square pixels."""
        return self.width * self.height

    @property
    def center(self) -> tuple[float, float]:
        """(x, y) in pixels."""
        return self.x + self.width / 2, self.y + self.height / 2

    def iou(self, other: BoundingBox) -> float:
        """Intersection over union with `other`, 0..1."""
        overlap_width = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        overlap_height = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        if overlap_width <= 0 or overlap_height <= 0:
            return 0.0
        overlap = overlap_width * overlap_height
        return overlap / (self.area + other.area - overlap)


class FaceView(enum.StrEnum):
    """From which side a face is seen."""

    FRONTAL = "frontal"
    LEFT_PROFILE = "left_profile"
    RIGHT_PROFILE = "right_profile"


@dataclass(frozen=True, slots=True)
class Detection:
    """One face in one frame."""

    box: BoundingBox
    view: FaceView = FaceView.FRONTAL


@dataclass(frozen=True, slots=True)
class Track:
    """The same face over time on one camera; never an identity."""

    track_id: int
    camera: str
    box: BoundingBox
    view: FaceView
    first_seen: float
    """Monotonic seconds."""
    last_seen: float
    """Monotonic seconds; older than the newest frame while the face is lost."""


# --- emotion ----------------------------------------------------------------------------------


class Emotion(enum.StrEnum):
    """The six basic emotions of Ekman and neutral, in FER2013's order: the model's contract."""

    ANGRY = "angry"
    DISGUST = "disgust"
    FEAR = "fear"
    HAPPY = "happy"
    SAD = "sad"
    SURPRISE = "surprise"
    NEUTRAL = "neutral"


EMOTIONS: tuple[Emotion, ...] = tuple(Emotion)
"""All emotions in the model's order."""


@dataclass(frozen=True, slots=True)
class EmotionScores:
    """A probability for each emotion; they sum to 1."""

    probabilities: tuple[float, ...]
    """Seven values in 0..1, in the order of `EMOTIONS`."""

    def __post_init__(self) -> None:
        if len(self.probabilities) != len(EMOTIONS):
            raise ValueError(f"{len(EMOTIONS)} probabilities expected, got {len(self.probabilities)}")

    def __getitem__(self, emotion: Emotion) -> float:
        return self.probabilities[EMOTIONS.index(emotion)]

    @property
    def dominant(self) -> Emotion:
        """The most probable emotion."""
        return EMOTIONS[max(range(len(EMOTIONS)), key=self.probabilities.__getitem__)]

    def share(self, emotions: frozenset[Emotion]) -> float:
        """The probability that one of `emotions` is shown, 0..1."""
        return min(1.0, sum(self[emotion] for emotion in emotions))

    def as_dict(self) -> dict[Emotion, float]:
        """Emotion → probability."""
        return dict(zip(EMOTIONS, self.probabilities, strict=True))


@dataclass(frozen=True, slots=True)
class EmotionState:
    """The smoothed scores of one track after one more observation."""

    track_id: int
    scores: EmotionScores
    observed_seconds: float
    """For how long this face has been observed in all, gaps left out."""
    interval_seconds: float
    """How much this observation added to `observed_seconds`."""


MODEL_CONTRACT_VERSION = "1"
"""What the model file's input, output and metadata mean; a file of another version is refused."""
MODEL_INPUT = "face"
"""uint8 `[N, 48, 48, 1]`."""
MODEL_OUTPUT = "probabilities"
"""float32 `[N, 7]`, calibrated, in the order of `EMOTIONS`."""
MODEL_METADATA_PREFIX = "vire."
"""Before each metadata key of the model file: `vire.contract`, `vire.labels`, …"""


# --- alert ------------------------------------------------------------------------------------


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


ABSENT_SECONDS = "absent_seconds"
"""Evidence of an absence: active time in which nobody was seen."""
TROUBLE_SECONDS = "trouble_seconds"
"""Evidence of a camera rule: for how long the camera has been in trouble."""


class EndReason(enum.StrEnum):
    """Why an episode ended."""

    CLEARED = "cleared"
    OUT_OF_VIEW = "out_of_view"
    NOT_OBSERVED = "not_observed"
    PAUSED = "paused"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Episode:
    """An interval in which a rule fires."""

    alert_id: str
    """The same from start to end, unique for ever."""
    rule: str
    severity: Severity
    camera: str | None
    """None for a rule over all cameras."""
    started_at: datetime
    level: float
    """The rule's level when the episode last changed."""
    evidence: Mapping[str, float] = field(default_factory=dict)
    """Emotion → smoothed probability of the face that fired; or `ABSENT_SECONDS` or `TROUBLE_SECONDS`."""
    track_ids: tuple[int, ...] = ()
    """The faces that took part, in order of appearance."""
    coalesced: int = 0
    """Earlier intervals of the same rule that the cooldown kept silent."""
    ended_at: datetime | None = None
    end_reason: EndReason | None = None
    acknowledged_at: datetime | None = None
    sequence: int = 0
    """Counts the events of this episode from 0."""


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


# --- message ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Message:
    """What goes over the wire."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False
    expiry_seconds: int | None = None
    """After this nobody wants it any more: it is neither sent nor, with MQTT 5, kept by the broker."""
    severity: Severity | None = None
    """Of the alert that it carries; None for anything else, which gives way to alerts."""
