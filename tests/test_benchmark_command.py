"""`vire-edge benchmark` from end to end: what it writes, never how fast anything is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from brokers import Mosquitto, free_port

from vire_edge.benchmark.daemon_cost import measure_daemon
from vire_edge.benchmark.latency import measure_latency
from vire_edge.benchmark.plot import draw
from vire_edge.benchmark.scaling import CAMERAS, FACES, RATES, RESOLUTIONS, Point
from vire_edge.benchmark.scenes import filmed, find_scene
from vire_edge.benchmark.spread import spread
from vire_edge.config import CameraConfig
from vire_edge.training.report import plots


def benchmark(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("VIRE_EDGE_")}
    return subprocess.run(
        [sys.executable, "-m", "vire_edge", "benchmark", *(str(argument) for argument in arguments)],
        env=clean | {"NO_COLOR": "1", "COLUMNS": "120"} | environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        stdin=subprocess.DEVNULL,
        cwd=cwd,
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run over two seconds of two scenes; a Keras that is not there keeps TensorFlow out."""
    folder = tmp_path_factory.mktemp("benchmark")
    (folder / "keras.py").write_text('raise ImportError("not here")\n')
    result = benchmark(
        "--scene", "one", "--scene", "still", "--seconds", 2, "--fps", 5, "--peers",
        "--json", "out/figures.json", "--markdown", "out/PAGE.md", cwd=folder,
        PYTHONPATH=str(folder),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    (folder / "stdout").write_text(result.stdout)
    return folder


@pytest.fixture(scope="module")
def figures(written: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((written / "out" / "figures.json").read_text())
    return found


def test_all_looked_at_the_same_frames(figures: dict[str, Any]) -> None:
    assert figures["schema"] == 1
    assert [scene["scene"] for scene in figures["scenes"]] == ["one", "still"]
    for scene in figures["scenes"]:
        assert (scene["width"], scene["height"], scene["frames"]) == (640, 480, 10)
        assert scene["frames_a_second"] == pytest.approx(5)
        assert [one["name"] for one in scene["standings"]][:3] == ["ours", "ours, each frame read", "naive"]


def test_the_naive_pipeline_agrees_with_itself_and_the_script(figures: dict[str, Any]) -> None:
    scene = figures["scenes"][0]
    ours, each_read, naive = scene["standings"][:3]
    assert each_read["reading"]["seconds"] == each_read["reading"]["same"] == 2
    assert naive["faces"]["reference"] == naive["faces"]["found"] == naive["faces"]["others"] >= 8
    assert naive["timeline"]["seconds"] == naive["timeline"]["same"] == 2
    assert naive["truth"]["false"] == ours["truth"]["false"] == 0
    assert ours["times_ours"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert {"detect", "search", "read emotions"} <= {stage["name"] for stage in naive["stages"]}


def test_an_empty_room_has_nobody(figures: dict[str, Any]) -> None:
    for one in figures["scenes"][1]["standings"][:2]:
        assert one["faces"]["others"] == one["truth"]["boxes"] == one["timeline"]["seconds"] == 0


def test_costs_add_up(figures: dict[str, Any]) -> None:
    for scene in figures["scenes"]:
        for one in scene["standings"]:
            assert one["frame"]["p50"] <= one["frame"]["p95"] <= one["frame"]["p99"]
            assert one["cpu_seconds_a_minute"] == pytest.approx(one["cpu_milliseconds"] * 5 * 60 / 1000)
            assert all(stage["mean"] <= one["frame"]["mean"] for stage in one["stages"])
        assert scene["limit_cpu_seconds_a_minute"] >= scene["decoding_cpu_seconds_a_minute"] > 0


def test_memory_is_that_of_a_process_of_its_own(figures: dict[str, Any]) -> None:
    assert {"ours", "naive"} <= figures["alone"].keys()
    for alone in figures["alone"].values():
        assert alone["frames"] == 10
        assert 30 < alone["peak_mib"] < 1000


def test_the_page_names_the_machine_the_command_and_what_is_missing(written: Path, figures: dict[str, Any]) -> None:
    assert any("keras" in note for note in figures["notes"])
    page = (written / "out" / "PAGE.md").read_text()
    assert page.startswith("# Benchmark\n")
    assert "    vire-edge benchmark --scene one --scene still --seconds 2 --fps 5 --peers\n" in page
    assert figures["machine"]["processor"] in page
    for note in figures["notes"]:
        assert note.partition(";")[0] in (written / "stdout").read_text()


@pytest.mark.parametrize(
    ("arguments", "status", "part"),
    [
        (("nothing.gif",), 66, "nothing.gif does not exist; name a clip, a camera, or with --scene one of actor"),
        (("--scene", "nowhere"), 2, "nowhere"),
        (("--plot", "growth.png"), 2, "--sweep"),
        (("--broker", "127.0.0.1"), 2, "--latency"),
        (("--keras", "none.keras"), 65, "none.keras does not exist"),
        (("--json", "/proc/none/x.json"), 74, "/proc/none/x.json"),
    ],
)
def test_a_mistake_is_told_before_the_work(arguments: tuple[str, ...], status: int, part: str, tmp_path: Path) -> None:
    result = benchmark(*arguments, cwd=tmp_path)
    assert result.returncode == status, result.stderr
    assert part in result.stderr
    assert "Traceback" not in result.stderr


def test_what_was_measured_is_kept_when_a_later_part_fails_and_a_clip_that_repeats_costs_what_it_costs(
    tmp_path: Path,
) -> None:
    filmed(find_scene("still", CameraConfig()), tmp_path / "still.avi", fps=10, seconds=1)
    result = benchmark(
        "still.avi", "--seconds", 3, "--latency", 2, "--broker", f"127.0.0.1:{free_port()}",
        "--json", "figures.json", cwd=tmp_path,
    )  # fmt: skip
    assert result.returncode == 69, result.stderr
    assert "Not measured: what was to follow (" in result.stdout
    (scene,) = json.loads((tmp_path / "figures.json").read_text())["scenes"]
    assert (scene["frames"], scene["frames_a_second"]) == (30, pytest.approx(10))
    ours = scene["standings"][0]
    assert ours["cpu_seconds_a_minute"] == pytest.approx(0.6 * ours["cpu_milliseconds"])


def test_alerts_are_timed_from_their_frame_to_the_brokers_acknowledgement(tmp_path: Path, mosquitto: Mosquitto) -> None:
    measured = measure_latency(3, tmp_path, mosquitto.config())
    assert measured.alerts >= 3
    assert measured.broker == f"127.0.0.1:{mosquitto.port}"
    assert 0 < measured.spread.p50 <= measured.spread.p99
    assert 0 < measured.disk.p50 <= measured.disk.p99


def test_a_running_daemon_is_measured_from_outside(tmp_path: Path) -> None:
    clip = tmp_path / "still.avi"
    filmed(find_scene("still", CameraConfig()), clip, fps=10, seconds=1)
    cost = measure_daemon("still", clip, cameras=2, fps=10, seconds=1, folder=tmp_path, warm_up_seconds=3)
    assert (cost.what, cost.cameras) == ("still", 2)
    assert 0 < cost.cpu_percent < 1000
    assert 30 < cost.resident_mib <= cost.peak_mib < 1000


def test_growth_is_drawn_series_by_series() -> None:
    settings = {"resolution": len(RESOLUTIONS), "faces": len(FACES), "cameras": len(CAMERAS), "frame rate": len(RATES)}
    points = [
        Point(series, f"{series} {number}", number, 10.0, spread([number]), spread([20.0 * number]))
        for series, count in settings.items()
        for number in range(1, count + 1)
    ]
    drawn = plots.svg(draw(points))
    for text in ("faces in view", "frames a second", "in proportion", "resolution 5", "faces 6"):
        assert text in drawn
