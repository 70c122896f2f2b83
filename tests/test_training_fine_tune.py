from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fer2013_samples import patterns, tiny_csv
from test_training_cli import invoke

from vire_edge.errors import ModelError, TrainingError
from vire_edge.training.architectures import Plan, build
from vire_edge.training.backend import load_keras
from vire_edge.training.evaluation.reading import load_start, predict
from vire_edge.training.settings import stored_settings
from vire_edge.training.train import train


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that reads the patterns."""
    keras = load_keras()

    keras.utils.set_random_seed(1)
    network = build("cnn", Plan())
    network.compile(keras.optimizers.Adam(0.001), "sparse_categorical_crossentropy")
    images, labels = patterns(1, 24)
    network.fit(images[..., None], np.array(labels), batch_size=16, epochs=16, verbose=0)
    assert (predict(network, images).argmax(axis=1) == labels).mean() > 0.9
    path = tmp_path_factory.mktemp("models") / "cnn.keras"
    network.save(path)
    return path


def test_fine_tuning_begins_with_what_the_network_knows(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    result = invoke(
        *("train", "--data", tiny_csv(tmp_path), "--arch", "cnn", "--preset", "fine-tune", "--epochs", "1"),
        *("--start-from", trained, "--run", run),
    )
    assert result.exit_code == 0, result.output
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["before"]["public_test"]["accuracy"] > 0.8
    # One epoch of the sixteen that it took to learn it.
    assert metrics["public_test"]["accuracy"] > 0.8
    assert f"before, public test: accuracy {metrics['before']['public_test']['accuracy']:.4f}" in result.output
    assert "--start-from cnn.keras" in stored_settings(run).command

    # As if it had been killed in its first epoch: the network is still to be begun with.
    for name in ("checkpoint.npz", "kept.npz", "history.json"):
        (run / name).unlink()
    other = tmp_path / "cnn.keras"
    other.write_bytes(trained.read_bytes())
    with zipfile.ZipFile(other, "a") as archive:
        archive.writestr("note", "another file")
    with pytest.raises(TrainingError, match=r"cnn\.keras is another file than .* was started with"):
        train(replace(stored_settings(run), start_from=other), on_event=lambda _: None, resume=True)


def test_fine_tuning_without_a_network_is_a_mistake(tmp_path: Path) -> None:
    result = invoke("train", "--data", tiny_csv(tmp_path), "--preset", "fine-tune")
    assert result.exit_code == 2
    assert "--start-from" in result.output


def test_another_network_or_none_is_named(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r'cnn\.keras holds a network "cnn", not "vire"; .*--arch cnn'):
        load_start(trained, "vire")
    with pytest.raises(ModelError, match=r"missing\.keras does not exist; give models"):
        load_start(tmp_path / "missing.keras", "vire")
    (tmp_path / "half.keras").write_bytes(trained.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"half\.keras is no Keras network"):
        load_start(tmp_path / "half.keras", "cnn")
