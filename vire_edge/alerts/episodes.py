"""One rule on one camera: when it fires and stops → one episode, its escalation, and the quiet after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from vire_edge.alerts.memory import KeeperMemory
from vire_edge.domain import AlertRule, EndReason, Episode, EpisodeChange, EpisodeEvent, Instant, Severity

_UNWATCHED = frozenset({EndReason.STOPPED, EndReason.CAMERA_DISABLED})
"""Ends that say nothing of the person: what is still there when somebody watches again is announced again."""


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
        camera: None for a rule over all cameras or on the device itself.
        new_id: makes the id of an episode.
    """

    def __init__(self, rule: AlertRule, camera: str | None, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self._firing_seconds: float | None = None
        """For how long the rule has fired, unobserved time left out; None while it does not."""
        self._quiet_until = float("-inf")
        self._last_severity = Severity.INFO
        self._coalesced = 0
        self.rule = rule
        self.camera = camera
        self.episode: Episode | None = None
        self.opened = 0.0
        """When the open episode started, monotonic seconds; before the boot, if it outlived one."""

    @property
    def firing(self) -> bool:
        """Whether the rule fires, announced or silent."""
        return self._firing_seconds is not None

    def update(
        self, firing: Firing | None, *, now: Instant, end_reason: EndReason = EndReason.CLEARED
    ) -> list[EpisodeEvent]:
        """Take in whether the rule fires now; `end_reason` says why if it has stopped."""
        if firing is None:
            return self._stop_firing(now, end_reason)
        self._firing_seconds = (self._firing_seconds or 0.0) + firing.interval_seconds
        after = self.rule.escalate_after_seconds
        escalates = after is not None and self._firing_seconds >= after
        severity = self.rule.escalate_to if escalates else self.rule.severity
        if self.episode is None:
            passes = now.monotonic >= self._quiet_until or severity.rank > self._last_severity.rank
            # A cooldown may end while nobody is observed or something else is seen: then the hold begins anew.
            held = firing.interval_seconds > 0 and firing.spoken_seconds >= self.rule.hold_seconds - 1e-6
            return [self._start(firing, severity, now)] if passes and held else []
        joined = tuple(track for track in firing.track_ids if track not in self.episode.track_ids)
        self.episode = replace(self.episode, track_ids=(*self.episode.track_ids, *joined))
        if severity.rank <= self.episode.severity.rank:
            return []
        self.episode = replace(
            self.episode,
            severity=severity,
            level=firing.level,
            evidence=firing.evidence,
            sequence=self.episode.sequence + 1,
            duration_seconds=self._duration_seconds(now),
        )
        return [EpisodeEvent(EpisodeChange.UPDATED, self.episode, now)]

    def acknowledge(self, now: Instant) -> None:
        """Note that a caregiver has seen the open episode."""
        if self.episode is not None and self.episode.acknowledged_at is None:
            self.episode = replace(self.episode, acknowledged_at=now.utc)

    def lift_cooldown(self) -> None:
        """Announce what fires next."""
        self._quiet_until = float("-inf")

    def remember(self, now: float) -> KeeperMemory:
        """What `restore` needs, at monotonic seconds `now`."""
        return KeeperMemory(
            firing_seconds=self._firing_seconds,
            quiet_seconds=max(0.0, self._quiet_until - now),
            last_severity=self._last_severity,
            coalesced=self._coalesced,
            open_seconds=0.0 if self.episode is None else max(0.0, now - self.opened),
            episode=self.episode,
        )

    def restore(self, memory: KeeperMemory, *, elapsed_seconds: float, now: float) -> None:
        """Go on where another keeper left off, `elapsed_seconds` ago."""
        self._firing_seconds = memory.firing_seconds
        # The rule's cooldown may have been shortened in between.
        self._quiet_until = now + min(memory.quiet_seconds - elapsed_seconds, self.rule.cooldown_seconds)
        self._last_severity = memory.last_severity
        self._coalesced = memory.coalesced
        self.opened = now - memory.open_seconds - elapsed_seconds
        # The tracker begins anew, so that the old ids would soon name other faces.
        self.episode = None if memory.episode is None else replace(memory.episode, track_ids=())

    def _start(self, firing: Firing, severity: Severity, now: Instant) -> EpisodeEvent:
        self.opened = now.monotonic
        self.episode = Episode(
            alert_id=self._new_id(),
            rule=self.rule.name,
            severity=severity,
            camera=self.camera,
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
        event = end(self.episode, reason, duration_seconds=self._duration_seconds(now), now=now)
        self._last_severity = self.episode.severity
        self._quiet_until = now.monotonic + self.rule.cooldown_seconds
        if reason in _UNWATCHED:
            self.lift_cooldown()
        self.episode = None
        return [event]

    def _duration_seconds(self, now: Instant) -> float:
        return max(0.0, now.monotonic - self.opened)


def end(episode: Episode, reason: EndReason, *, duration_seconds: float, now: Instant) -> EpisodeEvent:
    """The last event of an open episode."""
    ended = replace(
        episode,
        # A clock set back must not end an episode before it began.
        ended_at=max(now.utc, episode.started_at),
        end_reason=reason,
        sequence=episode.sequence + 1,
        duration_seconds=duration_seconds,
    )
    return EpisodeEvent(EpisodeChange.ENDED, ended, now)
