"""The governor at work: reads the computer once a second, sets the cameras' rates, tells in the log what holds them."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from vire_edge.config import Config
from vire_edge.daemon.governor import Governor, Pace
from vire_edge.daemon.machine import Machine
from vire_edge.daemon.ports import Camera
from vire_edge.domain import Slowdown
from vire_edge.pipeline import Observation

SETTLED_SECONDS = 60.0
"""Nothing must have held the cameras back for this long before that is told: the log follows no swinging."""

log = structlog.get_logger()


class FrameRates:
    """Keeps each camera at the rate that the computer can afford and the scene needs.

    Args:
        cameras: all of them; a recording that is read as fast as possible keeps its rate, because every frame counts.
        config: their rates, and the limits.
        machine: the computer.
    """

    def __init__(self, cameras: Sequence[Camera], config: Config, *, machine: Machine | None = None) -> None:
        self._machine = machine or Machine()
        self._asked = {one.name: Pace(one.fps) for one in config.cameras}
        self._paced = {
            camera.name: camera
            for camera, one in zip(cameras, config.cameras, strict=True)
            if camera.live or one.pace == "real_time"
        }
        self._governor = Governor(
            config.performance,
            {name: self._asked[name].fps for name in self._paced},
            max_gap_seconds=config.smoothing.max_gap_seconds,
        )
        self._told: set[Slowdown] = set()
        self._free_since: float | None = None

    def observed(self, observation: Observation, *, now: float) -> None:
        """Take in what a frame showed; whoever appears wakes the camera at once.

        Args:
            observation: of a frame.
            now: monotonic seconds.
        """
        if observation.camera in self._paced:
            self._governor.look(observation.camera, busy=_is_busy(observation), now=now)
            self._apply(observation.camera)

    def tick(self, now: float) -> None:
        """Look at the computer; to be called about once a second, at `now` in monotonic seconds."""
        self._governor.update(self._machine.read(), now=now)
        for name in self._paced:
            self._apply(name)
        self._tell(now)

    def pace(self, camera: str) -> Pace:
        """Return what is asked of a camera now."""
        return self._asked[camera]

    @property
    def cpu_percent(self) -> float | None:
        """The daemon's processor time of the last ten seconds, 100 for one core; None in the first ones."""
        return self._governor.cpu_percent

    @property
    def temperature_c(self) -> float | None:
        """The processor's temperature in °C; None where it cannot be read."""
        return self._machine.temperature_c()

    def _apply(self, name: str) -> None:
        pace = self._governor.pace(name)
        if pace != self._asked[name]:
            self._asked[name] = pace
            self._paced[name].set_rate(pace.fps)

    def _tell(self, now: float) -> None:
        reason = self._governor.limited_by
        if reason is not None:
            self._free_since = None
            if reason not in self._told:
                self._told.add(reason)
                self._tell_slowdown(reason)
        elif self._told:
            self._free_since = now if self._free_since is None else self._free_since
            if now - self._free_since >= SETTLED_SECONDS:
                self._told.clear()
                log.info("frames are looked at as often as configured again")

    def _tell_slowdown(self, reason: Slowdown) -> None:
        figures = {"cpu_percent": self.cpu_percent, "temperature_c": self.temperature_c}
        # A budget is kept because somebody set it; heat and a lack of power want to be looked into.
        (log.info if reason is Slowdown.CPU_BUDGET else log.warning)(
            "fewer frames are looked at",
            reason=reason.value,
            fps={name: round(self._asked[name].fps, 1) for name in self._paced},
            **{name: round(figure) for name, figure in figures.items() if figure is not None},
        )


def _is_busy(observation: Observation) -> bool:
    """Whether a frame keeps its camera awake: somebody is in view, or a face was found that may be somebody's."""
    return bool(observation.faces or observation.people or observation.not_observed)
