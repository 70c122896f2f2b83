"""What the engine must still know after a restart, as JSON: a border of its own, so pydantic stands here.

All durations are seconds before or after the moment of the snapshot: another boot counts its
monotonic seconds from another start.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from vire_edge.domain import Episode, Severity

Seconds = Annotated[float, Field(ge=0)]


def _check_times(episode: Episode) -> Episode:
    times = (episode.started_at, episode.acknowledged_at)
    if any(time is not None and time.utcoffset() is None for time in times):
        raise ValueError("times must be aware")
    return episode


class _Memory(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TriggerMemory(_Memory):
    """A trigger."""

    firing: bool
    held_seconds: Seconds | None
    clear_seconds: Seconds | None
    spoken_seconds: Seconds


class KeeperMemory(_Memory):
    """The episodes of one rule."""

    firing_seconds: Seconds | None
    quiet_seconds: Seconds
    """What is left of the cooldown."""
    last_severity: Severity
    coalesced: int = Field(ge=0)
    open_seconds: Seconds
    episode: Annotated[Episode, AfterValidator(_check_times)] | None


class _AlarmMemory(_Memory):
    rule: str
    camera: str | None
    keeper: KeeperMemory


class FaceMemory(_AlarmMemory):
    """A rule on faces. The faces themselves are forgotten: after a restart they are new tracks."""

    kind: Literal["face"] = "face"


class AbsenceMemory(_AlarmMemory):
    """An absence rule."""

    kind: Literal["absence"] = "absence"
    trigger: TriggerMemory
    absent_seconds: Seconds


class TroubleMemory(_AlarmMemory):
    """A camera rule or device rule."""

    kind: Literal["trouble"] = "trouble"
    trigger: TriggerMemory
    trouble_seconds: Seconds
    good_seconds: Seconds


AlarmMemory = Annotated[FaceMemory | AbsenceMemory | TroubleMemory, Field(discriminator="kind")]


class EngineMemory(_Memory):
    """All rules."""

    version: Literal[1] = 1
    """Rises when an older release would misread what is written; none reads another's."""
    alarms: list[AlarmMemory]

    @classmethod
    def parse(cls, text: str) -> EngineMemory:
        """Read a snapshot.

        Raises:
            ValueError: it is damaged, or another release has written it.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            where = ".".join(map(str, first["loc"])) or "the text"
            raise ValueError(
                f"the memory of the alert rules cannot be read: {where}: {first['msg']}; without it, open alerts and "
                "cooldowns of before the restart are forgotten"
            ) from error
