"""What is to be measured → the results, one thing after the other."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vire_edge.benchmark.alone import measure_alone
from vire_edge.benchmark.contestants import (
    EACH_READ,
    NAIVE,
    OURS,
    Contestant,
    PipelineContestant,
    rivals,
    use_one_thread,
)
from vire_edge.benchmark.daemon_cost import measure_daemon
from vire_edge.benchmark.keras_call import compare_keras
from vire_edge.benchmark.latency import measure_latency
from vire_edge.benchmark.peers import PEERS, load_peer
from vire_edge.benchmark.results import Results, summarize
from vire_edge.benchmark.runs import run
from vire_edge.benchmark.scaling import sweep
from vire_edge.benchmark.scenes import SCENES, filmed, find_scene
from vire_edge.config import CameraConfig, Config, MqttConfig
from vire_edge.emotions import shipped_model_path
from vire_edge.errors import DependencyError
from vire_edge.training.backend import check_packages

ALONE_SECONDS = 20.0
"""Of media time in a process of its own: memory is at its peak after the first frames."""
SWEEP_SECONDS = 10.0
IDLE_SCENES = (("still", 1), ("one", 1), ("still", 2))
"""What the daemon is put before, and with how many cameras."""
IDLE_CLIP_SECONDS = 10.0
KERAS_FILE = "vire.keras"

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be measured."""

    scenes: tuple[str, ...]
    """Names of drawn scenes, clips and cameras."""
    seconds: float
    """Of media time for each."""
    fps: float
    peers: bool
    keras: Path | None
    """None for the one beside the shipped model, where it and Keras are there."""
    sweep: bool
    alerts: int
    idle_seconds: float
    broker: MqttConfig | None
    """For the alerts; None for the daemon's own."""


def measure(order: Order, config: Config, folder: Path, results: Results, *, progress: Progress) -> None:
    """Measure, in an order in which what comes first disturbs nothing that follows.

    Args:
        order: what.
        config: the user's.
        folder: for clips and states.
        results: takes in each figure as soon as it is there.
        progress: told what is done.

    Raises:
        VireError: a source, the model, or something that was asked for by name cannot be used.
    """
    use_one_thread()
    session = _Session(order, config, folder, progress, results)
    session.look_at_scenes()
    if order.sweep:
        session.results.points = sweep(config, folder, seconds=SWEEP_SECONDS, progress=progress)
    if order.idle_seconds:
        session.run_daemons()
    if order.alerts:
        progress(f"waiting for {order.alerts} alerts")
        session.results.latency = measure_latency(order.alerts, folder, order.broker)
    if order.scenes:
        session.call_keras()


@dataclass(frozen=True, slots=True)
class _Session:
    """One order on its way."""

    order: Order
    config: Config
    folder: Path
    progress: Progress
    results: Results

    def look_at_scenes(self) -> None:
        peers = self._load_peers()
        for name in self.order.scenes:
            self._look_at(name, peers)

    def run_daemons(self) -> None:
        usual = CameraConfig()
        for name, cameras in IDLE_SCENES:
            self.progress(f"the daemon before {name}, cameras: {cameras}")
            clip = self.folder / f"idle-{name}.avi"
            filmed(find_scene(name, usual), clip, fps=usual.fps, seconds=IDLE_CLIP_SECONDS)
            with tempfile.TemporaryDirectory(dir=self.folder) as state:
                cost = measure_daemon(
                    name, clip, cameras=cameras, fps=usual.fps, seconds=self.order.idle_seconds, folder=Path(state)
                )
            self.results.daemons.append(cost)

    def call_keras(self) -> None:
        """Where nobody asks for it, a network that is not there is only noted."""
        network = self.order.keras or shipped_model_path().with_name(KERAS_FILE)
        if self.order.keras is None and not network.exists():
            self.results.notes.append(f"Keras: there is no models/{KERAS_FILE}; name a network with --keras")
            return
        try:
            check_packages("keras")
            self.progress("calling Keras")
            self.results.keras = compare_keras(network, self.config.model)
        except DependencyError as error:
            if self.order.keras is not None:
                raise
            self.results.notes.append(str(error))

    def _load_peers(self) -> list[Contestant]:
        loaded = []
        for name in PEERS if self.order.peers else ():
            self.progress(f"loading {name}")
            try:
                loaded.append(load_peer(name))
            except DependencyError as error:
                self.results.notes.append(str(error))
        return loaded

    def _look_at(self, name: str, peers: Sequence[Contestant]) -> None:
        """Let all look at one scene; at the first one, also each in a process of its own."""
        order, config = self.order, self.config
        self.progress(f"{name}: opening")
        scene, source = find_scene(name, config.cameras[0].model_copy(update={"fps": order.fps})), name
        if name in SCENES:
            clip = self.folder / f"{name}.avi"
            scene, source = filmed(scene, clip, fps=order.fps, seconds=order.seconds), str(clip)
        both = rivals(config)
        contestants = [
            PipelineContestant(OURS, both.ours),
            PipelineContestant(EACH_READ, both.each_read),
            PipelineContestant(NAIVE, both.naive),
            *peers,
        ]
        done = run(
            scene,
            contestants,
            fps=order.fps,
            seconds=order.seconds,
            progress=lambda share: self.progress(f"{scene.name}: {share:.0%}"),
        )
        self.results.scenes.append(summarize(done))
        if not self.results.alone:
            seconds = min(order.seconds, ALONE_SECONDS)
            for who in (OURS, NAIVE, *(peer for peer in PEERS if peers)):
                self.progress(f"{scene.name}: {who} in a process of its own")
                self.results.alone[who] = measure_alone(who, source, config, fps=order.fps, seconds=seconds)
