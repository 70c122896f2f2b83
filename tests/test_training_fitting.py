from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fer2013_samples import patterns
from numpy.typing import NDArray

from vire_edge.errors import TrainingError
from vire_edge.training.architectures import Plan, build
from vire_edge.training.backend import load_keras
from vire_edge.training.data.augment import NONE
from vire_edge.training.data.batches import Batches
from vire_edge.training.data.dataset import Faces
from vire_edge.training.evaluation.metrics import cross_entropy
from vire_edge.training.evaluation.reading import predict
from vire_edge.training.fitting import Average, Fitting, compile_for
from vire_edge.training.progress import BatchDone, EpochDone, Event
from vire_edge.training.recipes import Recipe, recipe_for
from vire_edge.training.rundir import EpochRecord, RunDirectory

RECIPE = replace(
    recipe_for("best", "vire"), epochs=4, batch_size=16, warm_up=1, calm=0.25, averaging=0.8, learning_rate=0.05
)
IMAGES, LABELS = patterns(1, 8)
LEARN = Faces(IMAGES, np.array(LABELS), np.eye(7, dtype=np.float32)[LABELS])
HELD_OUT = Faces(patterns(3, 3)[0], np.array(patterns(3, 3)[1]))


def small_network() -> Any:
    """Batch norm and dropout, and little else to wait for."""
    keras = load_keras()
    keras.utils.set_random_seed(1)
    face = keras.Input((48, 48, 1), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(face)
    x = keras.layers.Conv2D(8, 5, strides=4, use_bias=False)(x)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.Dropout(0.2)(keras.layers.Flatten()(x))
    return keras.Model(face, keras.layers.Dense(7, activation="softmax")(x))


class Stopped(Exception):  # noqa: N818  # no error: where a test ends a run
    pass


def fitting(
    run: Path,
    *,
    stop_after: int = 99,
    learn: Faces = LEARN,
    recipe: Recipe = RECIPE,
    events: list[Event] | None = None,
    directory: RunDirectory | None = None,
    start: list[NDArray[Any]] | None = None,
) -> Fitting:
    def on_event(event: Event) -> None:
        if events is not None:
            events.append(event)
        if isinstance(event, EpochDone) and event.record.epoch == stop_after:
            raise Stopped

    run.mkdir(exist_ok=True)
    batches, network = Batches(learn, recipe, seed=1), small_network()
    compile_for(network, recipe, steps_per_epoch=len(batches))
    return Fitting(
        network,
        batches,
        held_out=HELD_OUT,
        recipe=recipe,
        seed=1,
        run=directory or RunDirectory(run),
        on_event=on_event,
        start=start,
    )


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs") / "whole"


@pytest.fixture(scope="module")
def whole(whole_run: Path) -> Fitting:
    """A run without a stop."""
    run = fitting(whole_run)
    assert run.run_epochs() is False
    return run


def test_restored_run_goes_on_as_if_it_had_not_stopped(whole: Fitting, whole_run: Path, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        fitting(tmp_path / "stopped", stop_after=2).run_epochs()
    resumed = fitting(tmp_path / "stopped")
    resumed.restore()
    assert len(resumed.history) == 2
    resumed.run_epochs()

    for ours, theirs in zip(resumed.history, whole.history, strict=True):
        assert replace(ours, seconds=0).loss == pytest.approx(replace(theirs, seconds=0).loss, abs=1e-5)
        assert ours.learning_rate == pytest.approx(theirs.learning_rate)
        assert ours.held_out_loss == pytest.approx(theirs.held_out_loss, abs=1e-5)
    ends = [RunDirectory(path).load_checkpoint() for path in (tmp_path / "stopped", whole_run)]
    for part in range(3):
        assert ends[0][part]
        for mine, other in zip(ends[0][part], ends[1][part], strict=True):
            np.testing.assert_allclose(mine, other, rtol=0, atol=1e-5)


def test_averaged_weights_and_statistics_are_measured_and_kept(whole: Fitting, whole_run: Path) -> None:
    run = RunDirectory(whole_run)
    checkpoint, (kept, epoch) = run.load_checkpoint(), run.load_weights()
    for array, averaged in zip(kept, checkpoint.averaged, strict=True):
        np.testing.assert_array_equal(array, averaged)
    assert not np.array_equal(kept[3], checkpoint.weights[3]), "the moving mean of batch norm"
    network = small_network()
    network.set_weights(kept)
    measured = cross_entropy(predict(network, HELD_OUT.images), HELD_OUT.labels)
    assert measured == pytest.approx(whole.history[-1].held_out_loss, abs=1e-5)
    assert whole.kept_epoch == epoch == RECIPE.epochs


def test_an_epochs_loss_is_the_mean_over_its_faces(tmp_path: Path) -> None:
    events: list[Event] = []
    # Nothing is learnt, so that every batch of an epoch meets the same network.
    recipe = replace(RECIPE, epochs=1, batch_size=24, learning_rate=0.0, calm=1.0, label_smoothing=0.0, averaging=0.0)
    recipe = replace(recipe, augmentation=NONE, class_weight_power=0.0)
    run = fitting(tmp_path / "run", recipe=recipe, events=events)
    run.run_epochs()
    done = [event for event in events if isinstance(event, BatchDone)]
    assert len(done) == 3, "24, 24 and 8 faces"
    means = np.array([event.loss for event in done])
    assert done[-1].loss == run.history[0].loss
    batches = [means[0], 2 * means[1] - means[0], (56 * means[2] - 48 * means[1]) / 8]
    network = small_network()
    wanted = []
    for index in range(3):
        faces, targets, _ = Batches(LEARN, recipe, seed=1)[index]
        # As in training: batch norm by the batch's own statistics; dropout is what is left to differ.
        answers = np.asarray(network(faces, training=True))
        wanted.append(cross_entropy(answers, targets.argmax(axis=1)))
    np.testing.assert_allclose(batches, wanted, rtol=0.2)
    assert run.history[0].accuracy * 56 == pytest.approx(round(run.history[0].accuracy * 56), abs=1e-3)


def test_a_face_counts_by_the_weight_of_its_class(tmp_path: Path) -> None:
    # Six faces of one class and two of another, one in a batch; nothing is learnt, and dropout is the same each time.
    learn = LEARN.take(np.arange(2, 10))
    recipe = replace(RECIPE, epochs=1, batch_size=1, learning_rate=0.0, calm=1.0, averaging=0.0, augmentation=NONE)
    losses = []
    for power in (0.0, 1.0):
        events: list[Event] = []
        weighing = replace(recipe, class_weight_power=power)
        fitting(tmp_path / str(power), learn=learn, recipe=weighing, events=events).run_epochs()
        means = [event.loss for event in events if isinstance(event, BatchDone)]
        losses.append(np.diff(np.arange(1, 9) * means, prepend=0))
    alike, weighted = losses
    np.testing.assert_allclose(np.sort(weighted / alike), [4 / 6] * 6 + [2] * 2, rtol=1e-3)


def test_network_that_a_run_goes_on_from_keeps_its_share_over_a_stop(tmp_path: Path) -> None:
    recipe, begun = replace(RECIPE, start_share=0.25, keep_best=False), small_network().get_weights()
    fitting(tmp_path / "whole", recipe=recipe, start=begun).run_epochs()
    run = RunDirectory(tmp_path / "whole")
    kept, _ = run.load_weights()
    for weights, learnt, old in zip(kept, run.load_checkpoint().averaged, begun, strict=True):
        np.testing.assert_allclose(weights, 0.75 * learnt + 0.25 * old, atol=1e-6)

    with pytest.raises(Stopped):
        fitting(tmp_path / "stopped", recipe=recipe, start=begun, stop_after=2).run_epochs()
    resumed = fitting(tmp_path / "stopped", recipe=recipe)
    resumed.restore()
    resumed.run_epochs()
    for weights, uninterrupted in zip(RunDirectory(tmp_path / "stopped").load_weights()[0], kept, strict=True):
        np.testing.assert_allclose(weights, uninterrupted, atol=1e-5)


def test_patience_ends_a_run_that_gets_no_better_and_keeps_its_best_epoch(tmp_path: Path) -> None:
    # At this rate no epoch after the first few is better.
    recipe = replace(RECIPE, epochs=40, patience=2, learning_rate=2.0, averaging=0.0)
    run = fitting(tmp_path / "run", recipe=recipe)
    assert run.run_epochs() is False
    losses = [record.held_out_loss for record in run.history]
    assert len(losses) < recipe.epochs
    assert run.kept_epoch == len(losses) - recipe.patience == int(np.argmin(losses)) + 1

    resumed = fitting(tmp_path / "run", recipe=recipe)
    resumed.restore()
    assert resumed.is_complete
    assert len(resumed.history) == len(losses)


def test_diverged_training_is_told_before_anything_is_kept(tmp_path: Path) -> None:
    recipe = replace(RECIPE, learning_rate=1e30, averaging=0.0)
    run = fitting(tmp_path / "run", recipe=recipe)
    with pytest.raises(TrainingError, match=r"diverged in epoch \d: .* lower --learning-rate"):
        run.run_epochs()
    assert len(run.history) == RunDirectory(tmp_path / "run").epochs_done


def test_ctrl_c_while_an_epoch_is_written_waits_until_it_is(tmp_path: Path) -> None:
    class Interrupted(RunDirectory):
        def write_history(self, records: list[EpochRecord]) -> None:
            signal.raise_signal(signal.SIGINT)
            super().write_history(records)

    run = fitting(tmp_path / "run", directory=Interrupted(tmp_path / "run"))
    assert run.run_epochs() is True
    resumed = fitting(tmp_path / "run")
    resumed.restore()
    assert len(run.history) == len(resumed.history) == 1


def test_focal_loss_counts_sure_images_less() -> None:
    network = small_network()
    compile_for(network, replace(RECIPE, focal_gamma=2.0, label_smoothing=0.0), steps_per_epoch=1)
    label, sure, unsure = np.eye(7)[:1], np.full((1, 7), 0.1 / 6), np.full((1, 7), 0.5 / 6)
    sure[0, 0], unsure[0, 0] = 0.9, 0.5
    focal = [float(network.loss(label, answer)) for answer in (sure, unsure)]
    np.testing.assert_allclose(focal, [-(0.1**2) * np.log(0.9), -(0.5**2) * np.log(0.5)], rtol=1e-4)


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_loss_spreads_the_smoothed_share_of_a_label_over_all_classes(gamma: float) -> None:
    network = small_network()
    compile_for(network, replace(RECIPE, focal_gamma=gamma, label_smoothing=0.14), steps_per_epoch=1)
    label, answer = np.eye(7)[:1], np.array([[0.7, 0.1, 0.06, 0.05, 0.04, 0.03, 0.02]])
    wanted = np.array([0.88, *[0.02] * 6])
    loss = -(wanted * (1 - answer) ** gamma * np.log(answer)).sum()
    assert float(network.loss(label, answer)) == pytest.approx(loss, rel=1e-4)


def test_average_begins_with_the_weights_and_follows_them_ever_more_slowly() -> None:
    average = Average(0.9)
    average.add([np.zeros(3, np.float32)], 1)
    assert average.values[0].tolist() == [0, 0, 0]
    moved = []
    for step in range(2, 200):
        before = average.values[0].copy()
        average.add([before + 1], step)
        moved.append(float((average.values[0] - before)[0]))
    assert moved[0] == pytest.approx(9 / 11)
    assert moved[-1] == pytest.approx(0.1, rel=1e-4)
    assert moved == sorted(moved, reverse=True)


def test_average_keeps_its_own_copy() -> None:
    weights = np.ones(2, np.float32)
    average = Average(0.5)
    average.add([weights], 1)
    weights += 5
    assert average.values[0].tolist() == [1, 1]


def test_learning_rate_warms_up_and_falls_to_nothing() -> None:
    model = build("cnn", Plan())
    compile_for(model, recipe_for("best", "vire"), steps_per_epoch=10)
    rate = model.optimizer._learning_rate
    rates = [float(rate(step)) for step in range(0, 751, 10)]
    assert rates[0] == 0
    assert rates[3] == max(rates) == pytest.approx(0.1)
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert rates[-1] == pytest.approx(0, abs=1e-9)


def test_weight_decay_leaves_biases_and_batch_norm_alone() -> None:
    model = build("vire", Plan())
    compile_for(model, replace(recipe_for("best", "vire"), cosine=False), steps_per_epoch=10)
    decayed = {variable.name for variable in model.trainable_variables if model.optimizer._use_weight_decay(variable)}
    assert decayed == {"kernel"}
