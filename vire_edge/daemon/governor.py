"""How many frames of each camera are looked at. Pure: time and readings are passed in.

Fewer where the processor has too much to do or is too hot: all cameras then have the same share of their configured
rates, above a floor that holds what smoothing and the alert rules need. A limit bites within seconds, and is lifted in
steps that do not reach it again. Fewer, too, on a camera that has shown nobody for a while.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from vire_edge.config import PerformanceConfig
from vire_edge.domain import Slowdown

LOOKS_IN_GAP = 4
"""The floor: so many looks within the longest gap of smoothing, so that three misses in a row break off nothing."""
REST_AFTER_SECONDS = 30.0
"""A camera that has shown nobody for this long is at rest."""
REST_FPS = 5.0
"""A face that appears is found in the second frame that shows it, 0.4 s later at most."""
CPU_SECONDS = 10.0
"""What a report on the processor's time speaks of."""
_UNSEEN_SECONDS = 5.0
"""Without a frame for this long, nothing is known of a camera's calm."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The computer at one moment."""

    cpu_seconds: float
    """Processor time that the daemon has taken since its start, all threads together."""
    temperature_c: float | None
    """Of the processor; None where it is not told."""
    throttled: bool
    """Whether something outside has slowed the processor down."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What is asked of a camera."""

    fps: float
    lowered_by: Slowdown | None = None
    """Why that is less than configured; None while it isn't."""


class CpuMeter:
    """The processor time of the last ten seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque()

    def add(self, cpu_seconds: float, *, now: float) -> None:
        """Take in the time spent until `now`, monotonic seconds."""
        self._samples.append((now, cpu_seconds))
        while len(self._samples) > 1 and self._samples[1][0] <= now - CPU_SECONDS:
            self._samples.popleft()

    def percent(self, seconds: float) -> float | None:
        """Return the use over the last `seconds`, at most 10; 100 is one core. None while less is known."""
        if not self._samples:
            return None
        now, spent = self._samples[-1]
        for at, before in reversed(self._samples):
            if at <= now - seconds:
                return 100.0 * (spent - before) / (now - at)
        return None


class CpuBudget:
    """The share of the rates that the processor time allows.

    The time grows with the rate, at most in proportion: so a share that is cut in proportion meets the budget after a
    step or two, and one that is raised in proportion to a point below the budget does not go beyond it.
    """

    _JUDGED_SECONDS = 4.0
    """Too much over this long is too much. With the aim and the way back below: where each second deviates by up to a
    fifth, the rate moves once in ten minutes, not every few seconds."""
    _RECOVERY_SECONDS = 10.0
    """Between two steps up, measured with the one before in force."""
    _AIM = 0.85
    """Of the budget, after a change."""
    _RECOVER_BELOW = 0.7
    """Of the budget."""
    _LARGEST_CUT = 0.5
    """A burst that is soon over, such as a model that is loaded anew, costs no more than half of the rate."""
    _LARGEST_RISE = 1.25

    def __init__(self, max_percent: float) -> None:
        """Begin with everything allowed.

        Args:
            max_percent: the budget; 100 is one core.
        """
        self._max_percent = max_percent
        self._changed_at = float("-inf")
        self.share = 1.0

    def update(self, meter: CpuMeter, *, in_force: float | None, binding: bool, lowest: float, now: float) -> None:
        """Judge the last seconds.

        Args:
            meter: the processor time.
            in_force: the largest share of its rate that a camera above its floor has; None when all are at the floor.
            binding: whether this share, no other limit, is what holds a camera back.
            lowest: the share under which all cameras are at their floor.
            now: monotonic seconds.
        """
        settled = now - self._changed_at
        lately, for_long = meter.percent(self._JUDGED_SECONDS), meter.percent(self._RECOVERY_SECONDS)
        if lately is None or for_long is None:
            return  # a start costs more than what comes after it
        if lately > self._max_percent and settled >= self._JUDGED_SECONDS:
            if in_force is not None:
                cut = max(self._LARGEST_CUT, self._AIM * self._max_percent / lately)
                self._set(max(lowest, in_force * cut), now)
        elif binding and settled >= self._RECOVERY_SECONDS:
            used = for_long / self._max_percent
            if used < self._RECOVER_BELOW:
                rise = self._LARGEST_RISE if used <= 0 else min(self._LARGEST_RISE, self._AIM / used)
                self._set(min(1.0, self.share * rise), now)

    def _set(self, share: float, now: float) -> None:
        self.share, self._changed_at = share, now


class HeatGuard:
    """The share of the rates that the processor's heat allows, or whoever has slowed it down."""

    _CUT, _CUT_SECONDS = 0.75, 10.0
    """At once, and again as long as it does not cool down; heat follows the work within a minute."""
    _RISE, _RISE_SECONDS = 1.15, 30.0
    _HYSTERESIS_C = 5.0
    """It must have cooled down by so much before it gets more to do."""
    _COOLING_C = 1.0
    """From one judgement to the next; less is the sensor's noise."""

    def __init__(self, max_temperature_c: float) -> None:
        """Begin with everything allowed.

        Args:
            max_temperature_c: above this the processor has less to do.
        """
        self._max_c = max_temperature_c
        self._judged_at = float("-inf")
        self._judged_c: float | None = None
        self._calm_since: float | None = None
        self.share = 1.0
        self.reason = Slowdown.HEAT
        """Of the last cut."""

    def update(self, reading: Reading, *, in_force: float | None, lowest: float, now: float) -> None:
        """Judge the moment.

        Args:
            reading: the computer.
            in_force: the largest share of its rate that a camera above its floor has; None when all are at the floor.
            lowest: the share under which all cameras are at their floor.
            now: monotonic seconds.
        """
        temperature = reading.temperature_c
        hot = temperature is not None and temperature >= self._max_c
        if hot or reading.throttled:
            self._calm_since = None
            if in_force is None or now - self._judged_at < self._CUT_SECONDS:
                return
            if not self._cools(temperature):
                self.reason = Slowdown.HEAT if hot else Slowdown.THROTTLED
                self.share = max(lowest, in_force * self._CUT)
            self._judged_at, self._judged_c = now, temperature
            return
        self._judged_c = None
        if temperature is not None and temperature > self._max_c - self._HYSTERESIS_C:
            self._calm_since = None
            return
        self._calm_since = now if self._calm_since is None else self._calm_since
        if self.share < 1 and now - max(self._calm_since, self._judged_at) >= self._RISE_SECONDS:
            self.share, self._judged_at = min(1.0, self.share * self._RISE), now

    def _cools(self, temperature_c: float | None) -> bool:
        """Whether the cuts so far work."""
        if temperature_c is None or self._judged_c is None:
            return False
        return temperature_c <= self._judged_c - self._COOLING_C


@dataclass(slots=True)
class _Camera:
    """One camera's rates and its calm."""

    fps: float
    floor: float
    quiet_since: float | None = None
    looked_at: float = float("-inf")
    resting: bool = False

    def look(self, *, busy: bool, now: float) -> None:
        if busy:
            self.quiet_since = None
        elif self.quiet_since is None or now - self.looked_at > _UNSEEN_SECONDS:
            self.quiet_since = now
        self.looked_at = now
        self.resting = self.quiet_since is not None and now - self.quiet_since >= REST_AFTER_SECONDS


class Governor:
    """Decides the rate of each camera."""

    def __init__(self, limits: PerformanceConfig, fps: Mapping[str, float], *, max_gap_seconds: float) -> None:
        """Begin with the configured rates.

        Args:
            limits: what may be taken of the computer.
            fps: camera → its configured rate.
            max_gap_seconds: a longer time without an observation is not observed.
        """
        floor = max(limits.min_fps, LOOKS_IN_GAP / max_gap_seconds)
        self._cameras = {name: _Camera(rate, min(rate, floor)) for name, rate in fps.items()}
        self._lowest = min((one.floor / one.fps for one in self._cameras.values()), default=1.0)
        self._meter = CpuMeter()
        self._budget = CpuBudget(limits.max_cpu_percent)
        self._heat = HeatGuard(limits.max_temperature_celsius)

    def look(self, camera: str, *, busy: bool, now: float) -> None:
        """Take in what a frame showed.

        Args:
            camera: its name.
            busy: whether somebody is there, or may be.
            now: monotonic seconds.
        """
        self._cameras[camera].look(busy=busy, now=now)

    def update(self, reading: Reading, *, now: float) -> None:
        """Take in the computer's state; to be called about once a second.

        Args:
            reading: as it is now.
            now: monotonic seconds.
        """
        self._meter.add(reading.cpu_seconds, now=now)
        paces = [(one, self._pace(one)) for one in self._cameras.values()]
        in_force = max((pace.fps / one.fps for one, pace in paces if pace.fps > one.floor), default=None)
        binding = any(pace.lowered_by is Slowdown.CPU_BUDGET for _, pace in paces)
        self._heat.update(reading, in_force=in_force, lowest=self._lowest, now=now)
        self._budget.update(self._meter, in_force=in_force, binding=binding, lowest=self._lowest, now=now)

    def pace(self, camera: str) -> Pace:
        """Return what is asked of a camera now."""
        return self._pace(self._cameras[camera])

    @property
    def limited_by(self) -> Slowdown | None:
        """What holds the cameras back, at rest or not; None while nothing does."""
        share, reason = self._limit
        return reason if share < 1 else None

    @property
    def cpu_percent(self) -> float | None:
        """Use of the last ten seconds, 100 for one core; None in the first ones."""
        return self._meter.percent(CPU_SECONDS)

    @property
    def _limit(self) -> tuple[float, Slowdown]:
        if self._heat.share < self._budget.share:
            return self._heat.share, self._heat.reason
        return self._budget.share, Slowdown.CPU_BUDGET

    def _pace(self, one: _Camera) -> Pace:
        share, reason = self._limit
        fps = max(one.floor, share * one.fps)
        rest = max(one.floor, REST_FPS)
        if one.resting and rest < fps:
            return Pace(rest, Slowdown.AT_REST)
        return Pace(fps, reason if fps < one.fps else None)
