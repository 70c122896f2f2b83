"""One rule on one camera: when it fires and stops → one episode, its escalation, and the quiet after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from vire_edge.domain import AlertRule, EndReason, Episode, EpisodeChange, EpisodeEvent, Instant, Severity


@dataclass(frozen=True, slots=True)
class Firing:
    """What fires now: the strongest subject's level and evidence, and all faces that take part."""

    level: float
    evidence: Mapping[str, float] = field(default_factory=dict)
    track_ids: tuple[int, ...] = ()
    interval_seconds: float = 0.0
    """How much observed time speaks for the episode since the last update; what counts towards an escalation."""
    spoken_seconds: float = 0.0
    """For how long it has done so without an interruption."""


class EpisodeKeeper:
    """The episodes of one rule on one camera, at most one of them open.

    Args:
        rule: the rule.
        camera: None for a rule over all cameras.
        new_id: makes the id of an episode.
    """

    def __init__(self, rule: AlertRule, camera: str | None, new_id: Callable[[], str]) -> None:
        self._rule = rule
        self._camera = camera
        self._new_id = new_id
        self._firing_seconds: float | None = None
        """For how long the rule has fired, unobserved time left out; None while it does not."""
        self._quiet_until = float("-inf")
        self._last_severity = Severity.INFO
        self._coalesced = 0
        self.episode: Episode | None = None

    def update(
        self, firing: Firing | None, *, now: Instant, end_reason: EndReason = EndReason.CLEARED
    ) -> list[EpisodeEvent]:
        """Take in whether the rule fires now; `end_reason` says why if it has stopped."""
        if firing is None:
            return self._stop_firing(now, end_reason)
        self._firing_seconds = (self._firing_seconds or 0.0) + firing.interval_seconds
        after = self._rule.escalate_after_seconds
        escalates = after is not None and self._firing_seconds >= after
        severity = self._rule.escalate_to if escalates else self._rule.severity
        if self.episode is None:
            passes = now.monotonic >= self._quiet_until or severity.rank > self._last_severity.rank
            # A cooldown may end while nobody is observed or something else is seen: then the hold begins anew.
            held = firing.interval_seconds > 0 and firing.spoken_seconds >= self._rule.hold_seconds - 1e-6
            return [self._start(firing, severity, now)] if passes and held else []
        joined = tuple(track for track in firing.track_ids if track not in self.episode.track_ids)
        self.episode = replace(self.episode, track_ids=(*self.episode.track_ids, *joined))
        if severity.rank <= self.episode.severity.rank:
            return []
        escalated = replace(
            self.episode,
            severity=severity,
            level=firing.level,
            evidence=firing.evidence,
            sequence=self.episode.sequence + 1,
        )
        self.episode = escalated
        return [EpisodeEvent(EpisodeChange.UPDATED, escalated, now)]

    def acknowledge(self, now: Instant) -> None:
        """Note that a caregiver has seen the open episode."""
        if self.episode is not None and self.episode.acknowledged_at is None:
            self.episode = replace(self.episode, acknowledged_at=now.utc)

    def _start(self, firing: Firing, severity: Severity, now: Instant) -> EpisodeEvent:
        self.episode = Episode(
            alert_id=self._new_id(),
            rule=self._rule.name,
            severity=severity,
            camera=self._camera,
            started_at=now.utc,
            level=firing.level,
            evidence=firing.evidence,
            track_ids=firing.track_ids,
            coalesced=self._coalesced,
        )
        self._coalesced = 0
        return EpisodeEvent(EpisodeChange.STARTED, self.episode, now)

    def _stop_firing(self, now: Instant, reason: EndReason) -> list[EpisodeEvent]:
        was_firing, self._firing_seconds = self._firing_seconds is not None, None
        if self.episode is None:
            self._coalesced += was_firing
            return []
        ended = replace(
            self.episode,
            # A clock set back must not end an episode before it began.
            ended_at=max(now.utc, self.episode.started_at),
            end_reason=reason,
            sequence=self.episode.sequence + 1,
        )
        self.episode = None
        self._last_severity = ended.severity
        self._quiet_until = now.monotonic + self._rule.cooldown_seconds
        return [EpisodeEvent(EpisodeChange.ENDED, ended, now)]
