"""What is loaded on the way of `vire-edge run`, and what of it stays."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
from brokers import free_port

from vire_edge.camera.synthetic import load_expressions
from vire_edge.daemon.memory import return_what_starting_took, share_one_heap
from vire_edge.domain import Emotion
from vire_edge.emotions import OnnxEmotionClassifier

RUN = """
import json, sys
from vire_edge.cli import main
sys.argv = ["vire-edge", "run", "--config", sys.argv[1]]
try:
    main()
finally:
    print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.parametrize("embedded", [True, False])
def test_the_daemon_loads_nothing_that_it_does_not_use(tmp_path: Path, *, embedded: bool) -> None:
    cv2.imwrite(str(tmp_path / "room.png"), np.full((120, 160), 128, np.uint8))
    config: dict[str, Any] = {"cameras": [{"source": str(tmp_path / "room.png")}], "state_dir": str(tmp_path / "state")}
    if embedded:
        config["broker"] = {"port": free_port()}
    else:
        config["mqtt"] = {"host": "127.0.0.1", "port": free_port()}  # nobody listens there
    environment = {f"VIRE_EDGE_{name.upper()}": as_text(value) for name, value in config.items()}
    (tmp_path / "config.toml").touch()
    finished = subprocess.run(
        [sys.executable, "-c", RUN, tmp_path / "config.toml"],
        env=environment | {"PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    loaded = set(json.loads(finished.stdout.splitlines()[-1]))
    roots = {name.partition(".")[0] for name in loaded}
    assert {"vire_edge", "cv2", "onnxruntime"} <= roots
    assert not roots & {"tensorflow", "keras", "onnx", "torch", "matplotlib", "optuna", "scipy", "pandas", "rich"}
    assert ("amqtt" in roots) == embedded
    ours = {name for name in loaded if name.startswith(("vire_edge.training", "vire_edge.cli."))}
    assert ours == {"vire_edge.cli.run", "vire_edge.cli.options", "vire_edge.cli.logs"}


def as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def test_code_that_was_let_go_of_runs_as_before() -> None:
    share_one_heap()
    classifier = OnnxEmotionClassifier()
    face = cv2.resize(load_expressions()[Emotion.HAPPY], (48, 48)).astype(np.uint8)
    before = classifier.classify(face[np.newaxis])
    process = psutil.Process()
    shared = process.memory_info().shared
    for _ in range(3):
        return_what_starting_took()
        assert classifier.classify(face[np.newaxis]) == before
    assert process.memory_info().shared < shared
