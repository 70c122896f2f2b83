"""The governor against simulated computers: what frames cost, how they heat, who comes and goes."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vire_edge.config import PerformanceConfig
from vire_edge.daemon.governor import REST_AFTER_SECONDS, CpuMeter, Governor, Pace, Reading
from vire_edge.domain import Slowdown

FPS = 10.0
BUDGET = 50.0
MAX_C = 78.0


def governor(*fps: float, max_gap_seconds: float = 2.0, **limits: float) -> Governor:
    """Cameras c0, c1, … under half a core."""
    performance = PerformanceConfig.model_validate(
        {"max_cpu_percent": BUDGET, "max_temperature_celsius": MAX_C} | limits
    )
    rates = {f"c{index}": rate for index, rate in enumerate(fps or (FPS,))}
    return Governor(performance, rates, max_gap_seconds=max_gap_seconds)


@dataclass
class Computer:
    """One second after the other: frames cost processor time, and that heats, slowly."""

    governor: Governor
    cost_seconds: float
    """For each frame."""
    cameras: int = 1
    base: float = 0.02
    """Seconds for each second, without any frame."""
    noise: float = 0.0
    """Largest deviation of a second's work, as a share of it."""
    ambient_c: float | None = None
    heat_c: float = 0.0
    """Above ambient after minutes with one core busy."""
    throttled: bool = False
    busy: bool = True
    now: float = 100.0
    spent: float = 1.7
    celsius: float | None = None
    rates: list[float] = field(default_factory=list)
    """Of the first camera, one for each second."""
    used: list[float] = field(default_factory=list)
    """Percent of a core, one for each second."""
    random: random.Random = field(default_factory=lambda: random.Random(0))

    def run(self, seconds: int, until: Callable[[], bool] = lambda: False) -> Computer:
        for _ in range(seconds):
            if until():
                break
            frames = sum(self.governor.pace(f"c{index}").fps for index in range(self.cameras))
            work = (self.base + frames * self.cost_seconds) * (1 + self.random.uniform(-self.noise, self.noise))
            self.now += 1.0
            self.spent += work
            if self.ambient_c is not None:
                warm = self.ambient_c + self.heat_c * work
                self.celsius = warm if self.celsius is None else self.celsius + (warm - self.celsius) / 60
            for index in range(self.cameras):
                self.governor.look(f"c{index}", busy=self.busy, now=self.now)
            self.governor.update(Reading(self.spent, self.celsius, self.throttled), now=self.now)
            self.rates.append(self.governor.pace("c0").fps)
            self.used.append(100 * work)
        return self

    @property
    def changes(self) -> int:
        return sum(before != after for before, after in zip(self.rates, self.rates[1:], strict=False))


# --- the processor's time ---------------------------------------------------------------------


def test_within_the_budget_every_configured_frame_is_looked_at() -> None:
    computer = Computer(governor(), cost_seconds=0.04).run(600)
    assert set(computer.rates) == {FPS}
    assert computer.governor.pace("c0") == Pace(FPS)
    assert computer.governor.limited_by is None


def test_over_the_budget_the_rate_falls_within_seconds_and_meets_it() -> None:
    computer = Computer(governor(), cost_seconds=0.03).run(30)
    computer.cost_seconds = 0.1
    computer.run(10)
    assert computer.used[-1] <= BUDGET
    computer.run(300)
    assert max(computer.used[40:]) <= BUDGET
    assert min(computer.used[40:]) >= 0.65 * BUDGET
    assert computer.governor.pace("c0").lowered_by is Slowdown.CPU_BUDGET


def test_the_work_of_starting_is_not_held_against_it() -> None:
    computer = Computer(governor(), cost_seconds=0.5).run(4)
    computer.cost_seconds = 0.03
    computer.run(60)
    assert set(computer.rates) == {FPS}


def test_a_step_of_the_cost_is_followed_down_at_once_and_up_slowly_and_never_beyond_the_budget() -> None:
    computer = Computer(governor(), cost_seconds=0.03).run(60)
    computer.cost_seconds = 0.2
    computer.run(12)
    assert computer.used[-1] <= BUDGET
    low = computer.rates[-1]
    computer.cost_seconds = 0.03
    computer.run(10)
    assert low <= computer.rates[-1] <= 1.3 * low
    computer.run(120)
    assert computer.rates[-1] == FPS
    assert max(computer.used[-120:]) <= BUDGET


@pytest.mark.parametrize("noise", [0.1, 0.3])
def test_noise_does_not_make_it_swing(noise: float) -> None:
    computer = Computer(governor(), cost_seconds=0.1, noise=noise).run(60)
    computer.rates.clear()
    computer.used.clear()
    computer.run(1800)
    assert sum(computer.used) / len(computer.used) <= BUDGET
    assert max(computer.rates) <= 1.6 * min(computer.rates)
    assert computer.changes <= 60  # one in half a minute


@given(
    cost=st.floats(0.001, 0.5),
    base=st.floats(0.0, 0.3),
    cameras=st.integers(1, 4),
    fps=st.floats(1, 60),
    budget=st.floats(1, 400),
)
def test_any_constant_work_comes_to_rest_within_the_budget_or_at_the_floor(
    cost: float, base: float, cameras: int, fps: float, budget: float
) -> None:
    watched = governor(*[fps] * cameras, max_cpu_percent=budget)
    computer = Computer(watched, cost_seconds=cost, base=base, cameras=cameras).run(400)
    computer.rates.clear()
    computer.run(100)
    assert computer.changes == 0
    assert computer.used[-1] <= 1.001 * budget or computer.rates[-1] == min(fps, 2.0)
    assert min(fps, 2.0) <= computer.rates[-1] <= fps


def test_a_budget_that_cannot_be_met_ends_at_the_floor_and_no_lower() -> None:
    computer = Computer(governor(max_cpu_percent=1), cost_seconds=0.1).run(60)
    assert computer.governor.pace("c0") == Pace(2.0, Slowdown.CPU_BUDGET)
    assert min(computer.rates) == 2.0


def test_the_floor_holds_what_smoothing_needs() -> None:
    watched = governor(FPS, 1.0, max_gap_seconds=0.8, max_cpu_percent=1)
    Computer(watched, cost_seconds=0.1, cameras=2).run(60)
    assert watched.pace("c0").fps == 5.0  # four looks within the longest gap
    assert watched.pace("c1") == Pace(1.0)


def test_a_floor_above_the_rate_switches_slowing_down_off() -> None:
    watched = governor(min_fps=60, max_cpu_percent=1)
    Computer(watched, cost_seconds=0.1, ambient_c=90, busy=False).run(120)
    assert watched.pace("c0") == Pace(FPS)
    assert watched.limited_by is None


def test_a_single_burst_costs_half_of_the_rate_at_most() -> None:
    computer = Computer(governor(), cost_seconds=0.03).run(60)
    computer.spent += 4.0
    computer.run(10)
    assert min(computer.rates) >= FPS / 2
    computer.run(60)
    assert computer.rates[-1] == FPS


def test_cameras_share_the_cut_in_proportion() -> None:
    watched = governor(20.0, 10.0)
    Computer(watched, cost_seconds=0.05, cameras=2).run(60)
    assert watched.pace("c0").fps == pytest.approx(2 * watched.pace("c1").fps)
    assert watched.pace("c1").fps < 5


def test_the_meter_tells_the_last_seconds_and_nothing_before_it_knows_them() -> None:
    meter = CpuMeter()
    assert meter.percent(3) is None
    for second in range(30):
        meter.add(second * (0.25 if second < 20 else 0.0) + max(0, second - 20) * 0.5, now=100.0 + second)
        if second == 2:
            assert meter.percent(3) is None
        if second == 10:
            assert meter.percent(3) == meter.percent(10) == pytest.approx(25)
    assert meter.percent(3) == pytest.approx(50)


# --- heat and throttling ----------------------------------------------------------------------


def test_heat_slows_down_at_once_and_the_processor_stays_below_its_limit() -> None:
    computer = Computer(governor(max_cpu_percent=400), cost_seconds=0.08, ambient_c=40, heat_c=60, celsius=76.0)
    computer.run(300, until=lambda: computer.rates[-1:] not in ([], [FPS]))
    assert computer.celsius is not None
    assert computer.celsius <= MAX_C + 0.5
    assert computer.governor.pace("c0").lowered_by is Slowdown.HEAT
    computer.run(120)
    computer.rates.clear()
    hottest = 0.0
    for _ in range(60):
        computer.run(60)
        hottest = max(hottest, computer.celsius)
    assert hottest <= MAX_C + 0.5
    assert max(computer.rates) <= 1.35 * min(computer.rates)  # it found what can be borne, and keeps to it
    assert min(computer.rates) > 3
    assert computer.changes <= 40


def test_it_recovers_once_it_has_cooled_down_well_below_the_limit() -> None:
    computer = Computer(governor(), cost_seconds=0.03, celsius=80.0).run(60)
    assert computer.rates[-1] < FPS / 2
    computer.celsius = MAX_C - 2
    low = computer.rates[-1]
    computer.run(300)
    assert computer.rates[-1] == low
    computer.celsius = MAX_C - 8
    computer.run(29)
    assert computer.rates[-1] == low
    computer.run(600)
    assert computer.governor.pace("c0") == Pace(FPS)


def test_heat_ends_at_the_floor_too() -> None:
    computer = Computer(governor(), cost_seconds=0.03, celsius=95.0).run(300)
    assert computer.governor.pace("c0") == Pace(2.0, Slowdown.HEAT)


def test_a_processor_that_was_slowed_down_from_outside_gets_less_to_do() -> None:
    computer = Computer(governor(), cost_seconds=0.03).run(20)
    computer.throttled = True
    computer.run(1)
    assert computer.governor.pace("c0").lowered_by is Slowdown.THROTTLED
    computer.run(100)
    assert computer.rates[-1] == 2.0
    computer.throttled = False
    computer.run(29)
    assert computer.rates[-1] == 2.0
    computer.run(600)
    assert computer.rates[-1] == FPS


def test_of_heat_and_budget_the_tighter_one_rules_and_is_named() -> None:
    computer = Computer(governor(), cost_seconds=0.1).run(30)
    under_budget = computer.rates[-1]
    assert computer.governor.limited_by == Slowdown.CPU_BUDGET
    computer.celsius = 85.0
    computer.run(30)
    assert computer.governor.pace("c0").lowered_by is Slowdown.HEAT
    assert computer.rates[-1] < under_budget
    computer.celsius = 50.0
    computer.run(600)
    assert computer.governor.pace("c0").lowered_by is Slowdown.CPU_BUDGET
    assert computer.used[-1] <= BUDGET


# --- nobody there -----------------------------------------------------------------------------


def test_a_camera_that_shows_nobody_rests_and_wakes_at_once() -> None:
    computer = Computer(governor(), cost_seconds=0.01, busy=False).run(int(REST_AFTER_SECONDS))
    assert computer.rates[-1] == FPS
    computer.run(1)
    assert computer.governor.pace("c0") == Pace(5.0, Slowdown.AT_REST)
    assert computer.governor.limited_by is None
    computer.governor.look("c0", busy=True, now=computer.now + 0.1)
    assert computer.governor.pace("c0") == Pace(FPS)
    computer.run(int(REST_AFTER_SECONDS))
    assert computer.rates[-1] == FPS


def test_time_without_frames_is_no_calm() -> None:
    computer = Computer(governor(), cost_seconds=0.01, busy=False).run(60)
    computer.now += 3600.0
    computer.run(int(REST_AFTER_SECONDS))
    assert computer.rates[-1] == FPS
    computer.run(1)
    assert computer.rates[-1] == 5.0


def test_a_camera_that_rests_holds_no_other_back() -> None:
    watched = governor(FPS, FPS)
    for second in range(60):
        watched.look("c0", busy=False, now=float(second))
        watched.look("c1", busy=True, now=float(second))
    assert (watched.pace("c0").fps, watched.pace("c1").fps) == (5.0, FPS)


def test_at_rest_nothing_is_taken_back_that_the_budget_has_cut() -> None:
    computer = Computer(governor(), cost_seconds=0.08).run(60)
    cut = computer.rates[-1]
    assert 5 < cut < FPS
    computer.busy, computer.cost_seconds = False, 0.001
    computer.run(300)
    assert computer.governor.pace("c0") == Pace(5.0, Slowdown.AT_REST)
    computer.governor.look("c0", busy=True, now=computer.now + 0.1)
    assert cut <= computer.governor.pace("c0").fps <= FPS
