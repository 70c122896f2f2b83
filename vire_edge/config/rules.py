"""The `[[alerts]]` tables: five kinds of rule, their defaults, and their way into the domain."""

from __future__ import annotations

import re
from datetime import time
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from vire_edge.config.base import Name, PositiveSeconds, Seconds, Section, Threshold
from vire_edge.domain import (
    AbsenceRule,
    ActiveHours,
    CameraRule,
    CameraStatus,
    DeviceRule,
    DeviceTrouble,
    Emotion,
    Severity,
    SpikeRule,
    SustainedRule,
)

CLEAR_SHARE = 2 / 3
"""Of the threshold: where a rule stops that does not say it."""
MAX_OBSERVED_SHARE = 0.9
"""Of a window, that a rule may ask to be observed."""
_HOURS = re.compile(r"(\d{2}:\d{2})-(\d{2}:\d{2})")


def _check_hours(value: object) -> object:
    try:
        if isinstance(value, str) and (match := _HOURS.fullmatch(value)):
            start, end = (time.fromisoformat(part) for part in match.groups())
            if start != end:
                return value
    except ValueError:
        pass
    raise ValueError('must be two different local times such as "08:00-21:00"')


Hours = Annotated[str, BeforeValidator(_check_hours)]


def _active_hours(value: str) -> ActiveHours:
    start, end = value.split("-")
    return ActiveHours(time.fromisoformat(start), time.fromisoformat(end))


class _Alert(Section):
    """What all kinds of rule share."""

    name: Name
    """Stands in each alert; unique."""
    severity: Severity = Severity.WARNING
    """info, warning or critical."""
    hold_seconds: Seconds = 5.0
    """How long the condition must last before an alert, and be over before its end: shorter blips are no episode."""
    cooldown_seconds: Seconds = 300.0
    """After an alert has ended, how long the same rule on the same camera only counts: five minutes keep a
    carer's phone quiet about one spell that comes in waves."""
    escalate_after_seconds: PositiveSeconds | None = None
    """When an alert goes on for this long it is announced again with the severity below."""
    escalate_to: Severity = Severity.CRITICAL
    """The severity of an escalated alert; also passes a cooldown."""

    @model_validator(mode="after")
    def _check_escalation(self) -> Self:
        if self.escalate_after_seconds is not None and self.escalate_to.rank <= self.severity.rank:
            raise ValueError(
                f"escalate_to must be above the severity {self.severity!s}, got {self.escalate_to!s}; "
                "raise it or leave out escalate_after_seconds"
            )
        return self


class _WatchingAlert(_Alert):
    """A rule that looks at cameras."""

    cameras: list[Name] = Field(default_factory=list)
    """Cameras that the rule watches; empty for all."""


class _LevelAlert(_WatchingAlert):
    """A rule with two thresholds of its own."""

    threshold_key: ClassVar[str]
    clear_key: ClassVar[str]

    @model_validator(mode="after")
    def _check_hysteresis(self) -> Self:
        threshold, clear = getattr(self, self.threshold_key), getattr(self, self.clear_key)
        if clear is not None and clear > threshold:
            raise ValueError(f"{self.clear_key} must be at most {self.threshold_key} ({threshold}), got {clear}")
        return self


class SustainedAlert(_LevelAlert):
    """An emotion, or a group of them, fills a share of the observed time in a window."""

    threshold_key = "share"
    clear_key = "clear_share"

    kind: Literal["sustained"]
    emotions: list[Emotion] = Field(min_length=1)
    """Their probabilities are added: ["sad", "fear", "angry"] is distress."""
    score: Threshold = 0.7
    """Smoothed probability from which a face counts as showing them. For sad, fear and angry together the shipped model
    reaches 0.7 on 71 % of held-out FER2013 faces so labelled, on 14 % of the neutral and 3 % of the happy ones."""
    window_seconds: PositiveSeconds = 60.0
    """Only what was observed within this time counts."""
    min_observed_seconds: PositiveSeconds = 20.0
    """With less observation in the window nothing is concluded."""
    share: Threshold = 0.6
    """Share of the observed time from which the rule fires."""
    clear_share: Threshold | None = None
    """Share under which it stops; left out, two thirds of share. The gap between the two keeps it from flapping."""

    @model_validator(mode="after")
    def _check_window(self) -> Self:
        if self.min_observed_seconds > MAX_OBSERVED_SHARE * self.window_seconds:
            raise ValueError(
                f"min_observed_seconds must be at most {MAX_OBSERVED_SHARE:.0%} of window_seconds "
                f"({self.window_seconds}), got {self.min_observed_seconds}: nobody is observed without a gap"
            )
        return self

    def to_rule(self) -> SustainedRule:
        """The same rule as a value of the domain."""
        return SustainedRule(
            **_shared(self),
            threshold=self.share,
            clear_threshold=_clear(self.clear_share, self.share),
            emotions=frozenset(self.emotions),
            score=self.score,
            window_seconds=self.window_seconds,
            min_observed_seconds=self.min_observed_seconds,
        )


class SpikeAlert(_LevelAlert):
    """A high score held for some seconds."""

    threshold_key = "score"
    clear_key = "clear_score"

    kind: Literal["spike"]
    emotions: list[Emotion] = Field(min_length=1)
    """Their probabilities are added."""
    score: Threshold = 0.6
    """Smoothed probability from which the rule fires. For fear the shipped model reaches 0.6 on 33 % of held-out
    fearful faces of FER2013 and on 2 % of all others: what it calls a fright mostly is one, and it misses many."""
    clear_score: Threshold | None = None
    """Smoothed probability under which it stops; left out, two thirds of score."""
    hold_seconds: Seconds = 4.0
    """A grimace lasts about a second; four seconds are meant."""

    def to_rule(self) -> SpikeRule:
        """The same rule as a value of the domain."""
        return SpikeRule(
            **_shared(self),
            threshold=self.score,
            clear_threshold=_clear(self.clear_score, self.score),
            emotions=frozenset(self.emotions),
        )


class AbsenceAlert(_WatchingAlert):
    """No face on any of the cameras for hours, inside the active hours, while a camera was working."""

    kind: Literal["absence"]
    absent_hours: float = Field(default=6.0, gt=0, le=168)
    """Six hours of an active day without a face are unusual in a room that is lived in."""
    active_hours: Hours = "08:00-21:00"
    """Local time that counts; the night does not."""
    hold_seconds: Seconds = 0.0
    """The hours are the hold already."""

    def to_rule(self) -> AbsenceRule:
        """The same rule as a value of the domain."""
        return AbsenceRule(
            **_shared(self),
            threshold=1.0,
            clear_threshold=1.0,
            absent_seconds=self.absent_hours * 3600,
            active_hours=_active_hours(self.active_hours),
        )


class CameraAlert(_WatchingAlert):
    """A camera is offline, stalled or dark for too long."""

    kind: Literal["camera"]
    statuses: list[Literal[CameraStatus.RECONNECTING, CameraStatus.STALLED, CameraStatus.DARK]] = Field(
        default=[CameraStatus.RECONNECTING, CameraStatus.STALLED], min_length=1
    )
    """reconnecting (it is offline), stalled or dark."""
    active_hours: Hours | None = None
    """Local time that counts; left out, the whole day. A dark room at night is no fault."""
    hold_seconds: Seconds = 60.0
    """A camera that comes back within a minute is no news."""

    def to_rule(self) -> CameraRule:
        """The same rule as a value of the domain."""
        return CameraRule(
            **_shared(self),
            threshold=1.0,
            clear_threshold=1.0,
            statuses=frozenset(self.statuses),
            active_hours=None if self.active_hours is None else _active_hours(self.active_hours),
        )


class DeviceAlert(_Alert):
    """The device itself is in trouble for too long: it looks alive, and watches over nobody or reaches nobody."""

    kind: Literal["device"]
    trouble: DeviceTrouble
    """model (faces cannot be judged), delivery (alerts were given up, or nobody is subscribed to them) or storage
    (the disk cannot be written)."""
    hold_seconds: Seconds = 60.0
    """What is mended within a minute, as by beginning it anew, is no news."""

    def to_rule(self) -> DeviceRule:
        """The same rule as a value of the domain."""
        return DeviceRule(**_shared(self), threshold=1.0, clear_threshold=1.0, trouble=self.trouble)


Alert = Annotated[SustainedAlert | SpikeAlert | AbsenceAlert | CameraAlert | DeviceAlert, Field(discriminator="kind")]


def _clear(given: float | None, threshold: float) -> float:
    return CLEAR_SHARE * threshold if given is None else given


def default_alerts() -> list[Alert]:
    """The rules of a home where one person needs care."""
    distress = [Emotion.SAD, Emotion.FEAR, Emotion.ANGRY]
    return [
        SustainedAlert(kind="sustained", name="distress", emotions=distress, escalate_after_seconds=600),
        SpikeAlert(kind="spike", name="fear", emotions=[Emotion.FEAR]),
        AbsenceAlert(kind="absence", name="absence"),
        CameraAlert(kind="camera", name="camera-offline"),
        CameraAlert(
            kind="camera",
            name="camera-dark",
            statuses=[CameraStatus.DARK],
            active_hours="09:00-17:00",
            hold_seconds=600,
            severity=Severity.INFO,
        ),
        # Critical, though no person is in danger: nobody is watched over, and everything else looks well. The
        # hold leaves a minute to begin anew.
        DeviceAlert(kind="device", name="device-model", trouble=DeviceTrouble.MODEL, severity=Severity.CRITICAL),
        # No longer a hold: the trouble is reported minutes after the loss already, and lasts for a few.
        DeviceAlert(kind="device", name="device-delivery", trouble=DeviceTrouble.DELIVERY),
        # Alerts go out live meanwhile; what waits is lost in a power cut. A disk that was busy is back in a minute.
        DeviceAlert(kind="device", name="device-storage", trouble=DeviceTrouble.STORAGE),
    ]


def _shared(alert: _Alert) -> dict[str, Any]:
    return {
        "name": alert.name,
        "severity": alert.severity,
        "hold_seconds": alert.hold_seconds,
        "cooldown_seconds": alert.cooldown_seconds,
        "escalate_after_seconds": alert.escalate_after_seconds,
        "escalate_to": alert.escalate_to,
        "cameras": frozenset(alert.cameras if isinstance(alert, _WatchingAlert) else ()),
    }
