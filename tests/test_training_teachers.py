from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fer2013_samples import patterns

from vire_edge.emotions import shipped_model_path
from vire_edge.errors import ModelError
from vire_edge.training.export import run_file
from vire_edge.training.teachers import ensemble

FACES = patterns(3, 2)[0]


def test_teachers_answer_with_their_mean_over_a_face_and_its_mirror_image() -> None:
    model = shipped_model_path()
    teacher = ensemble([model])
    assert teacher is not None
    answer, mirrored = run_file(model, FACES), run_file(model, FACES[:, :, ::-1].copy())
    assert np.abs(answer - mirrored).max() > 0.05
    np.testing.assert_allclose(teacher(FACES), (answer + mirrored) / 2, atol=1e-6)
    np.testing.assert_allclose(teacher(FACES[:, :, ::-1]), teacher(FACES), atol=1e-6)


def test_several_teachers_see_a_face_and_its_mirror_image_by_turns() -> None:
    first = shipped_model_path()
    second = first.with_name("vire-int8.onnx")
    teacher = ensemble([first, second, first])
    assert teacher is not None
    answers = run_file(first, FACES), run_file(second, FACES[:, :, ::-1].copy()), run_file(first, FACES)
    np.testing.assert_allclose(teacher(FACES), np.mean(answers, axis=0), atol=1e-6)


def test_no_files_are_no_teacher_and_a_missing_one_is_named(tmp_path: Path) -> None:
    assert ensemble([]) is None
    with pytest.raises(ModelError, match=r"gone\.onnx cannot be read"):
        ensemble([tmp_path / "gone.onnx"])
