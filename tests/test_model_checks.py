from __future__ import annotations

import resource
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pytest
from brokers import wait_until
from crafted_models import added_to_gray, crafted, doubled, external, padded, serialized, slow
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from structlog.testing import capture_logs

from vire_edge.emotions import OnnxEmotionClassifier, shipped_model_path
from vire_edge.emotions.inspection import inspect
from vire_edge.emotions.trial import UnfinishedError, try_out
from vire_edge.emotions.wire import MAX_FIELDS, MODEL, Record, RefusedError, Schema, read_model
from vire_edge.errors import ModelError, ModelUnavailableError

FACES = np.random.default_rng(1).integers(0, 256, (20, 48, 48), dtype=np.uint8)


def write(path: Path, model: Any) -> Path:
    path.write_bytes(model if isinstance(model, bytes) else serialized(model))
    return path


def test_a_crafted_model_that_does_no_harm_is_used(tmp_path: Path) -> None:
    classifier = OnnxEmotionClassifier(write(tmp_path / "model.onnx", crafted()))
    scores = classifier.classify(FACES)
    assert len(scores) == len(FACES)
    assert scores[17] == classifier.classify(FACES[17:18])[0]


# --- what inspection refuses -------------------------------------------------------------------


def with_node(*arguments: Any, **attributes: Any) -> Any:
    """One more operator, whose output replaces the gray face; `taken` names what it reads besides."""
    return crafted([helper.make_node(*arguments, **attributes)], taken=arguments[2][0])


def with_a_graph_inside() -> Any:
    inner = helper.make_graph([], "inner", [], [helper.make_tensor_value_info("gray", TensorProto.FLOAT, None)])
    return with_node("If", ["gray"], ["x"], then_branch=inner, else_branch=inner)


def with_functions() -> Any:
    model = crafted()
    made = helper.make_function(
        "own", "Twice", ["x"], ["y"], [helper.make_node("Add", ["x", "x"], ["y"])], [helper.make_opsetid("", 15)]
    )
    model.functions.append(made)
    return model


def with_sparse_weights() -> Any:
    model = crafted()
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(numpy_helper.from_array(np.ones(1, np.float32), "values"))
    sparse.values.data_location = TensorProto.EXTERNAL
    return model


def with_a_sparse_attribute() -> Any:
    model = with_node("Relu", ["gray"], ["x"])
    attribute = model.graph.node[1].attribute.add(name="w", type=onnx.AttributeProto.SPARSE_TENSOR)
    attribute.sparse_tensor.values.data_location = TensorProto.EXTERNAL
    return model


def claiming(*dims: int) -> Any:
    model = crafted()
    model.graph.initializer[0].dims[:] = dims
    return model


def with_weights_of_type(kind: int) -> Any:
    model = crafted()
    model.graph.initializer[0].data_type = kind
    return model


def with_a_second_graph() -> bytes:
    return serialized(crafted()) + serialized(onnx.ModelProto(graph=crafted().graph))


def sized_by_the_picture() -> Any:
    nodes = [
        helper.make_node("Reshape", ["gray", "all"], ["x"]),
        helper.make_node("Cast", ["x"], ["size"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["gray", "size"], ["y"]),
    ]
    return crafted(nodes, constants={"all": np.array([-1])}, taken="y")


def out_of_order() -> Any:
    return crafted([helper.make_node("Relu", ["later"], ["x"]), helper.make_node("Relu", ["gray"], ["later"])])


def nested_too_deep() -> bytes:
    """A thousand messages, each within the one before, where a graph belongs."""
    content = b""
    for _ in range(1000):
        length, value = b"", len(content)
        while value > 127:
            length, value = length + bytes([value & 127 | 128]), value >> 7
        content = b"\x3a" + length + bytes([value]) + content
    return content


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: external(crafted(), file="/etc/shadow"), "a tensor holds data in another file"),
        (lambda: with_node("Constant", [], ["x"], value=external(crafted(), file="x").graph.initializer[0]),
         "attribute holds a tensor"),
        (with_a_graph_inside, "attribute holds a graph"),
        (with_functions, "model holds functions of its own"),
        (with_sparse_weights, "graph holds sparse tensors"),
        (with_a_sparse_attribute, "attribute holds a sparse tensor"),
        (lambda: with_node("Relu", ["gray"], ["x"], domain="com.evil"), r"operator 'com\.evil\.Relu' is none"),
        (lambda: with_node("ConstantOfShape", ["flat"], ["x"]), "operator 'ConstantOfShape' is none"),
        (lambda: with_node("Expand", ["gray", "flat"], ["x"]), "operator 'Expand' is none"),
        (lambda: claiming(10**6, 10**6), "tensor 'weights' claims more than 10.12 numbers and holds 16,128"),
        (lambda: claiming(48 * 48, 8), "tensor 'weights' claims 18,432 numbers and holds 16,128"),
        (lambda: claiming(-48 * 48, -7), "tensor 'weights' has impossible dimensions"),
        (lambda: claiming(*[1] * 9), "tensor 'weights' has impossible dimensions"),
        (lambda: with_weights_of_type(TensorProto.STRING), "tensor 'weights' has the data type 8"),
        (lambda: with_node("AveragePool", ["gray"], ["x"], kernel_shape=[2**40, 1]),
         "'kernel_shape' of AveragePool is .*, beyond 4,096"),
        (sized_by_the_picture, "the size of what Reshape makes depends on the picture"),
        (out_of_order, "Relu uses 'later', which nothing before it makes"),
        (lambda: with_node("Relu", ["gray"], ["gray"]), "'gray' is made twice"),
        (with_a_second_graph, "graph of a model stands there twice"),
        (nested_too_deep, "is truncated or no ONNX model"),
        (lambda: b"\x08\x01" * MAX_FIELDS, "ir_version of a model stands there twice"),
        (lambda: b"\x42\x00" * MAX_FIELDS + b"\x42\x00", "more than 100,000 fields"),
        (lambda: b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "is truncated or no ONNX model"),
        (lambda: b"", "holds no graph"),
    ],
)  # fmt: skip
def test_a_model_that_could_do_harm_never_reaches_the_runtime(
    tmp_path: Path, made: Callable[[], Any], message: str
) -> None:
    path = write(tmp_path / "model.onnx", made())
    with pytest.raises(RefusedError, match=message):
        inspect(path.read_bytes())
    with pytest.raises(ModelError, match=message) as caught:
        OnnxEmotionClassifier(path)
    assert str(path) in str(caught.value)
    assert "vire-edge export" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_device_that_never_ends_is_no_model() -> None:
    with pytest.raises(ModelError, match="/dev/zero is no regular file"):
        OnnxEmotionClassifier(Path("/dev/zero"))


def test_a_file_of_any_size_is_read_no_further_than_its_bound(tmp_path: Path) -> None:
    with (tmp_path / "giant.onnx").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ModelError, match=r"giant\.onnx has more than 64 MiB"):
        OnnxEmotionClassifier(tmp_path / "giant.onnx")


# --- what a trial refuses ----------------------------------------------------------------------


def without_probabilities() -> Any:
    """Not a number, for every face."""
    return crafted([added_to_gray("nan")], constants={"nan": np.float32("nan")}, taken="sum")


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: doubled(40), "bad_alloc|memory"),
        (padded, "cannot read 1 faces"),
        (without_probabilities, "gives no probabilities for 1 faces"),
    ],
)
def test_a_model_that_costs_too_much_or_reads_nothing_is_given_up_in_a_trial(
    tmp_path: Path, made: Callable[[], Any], message: str
) -> None:
    path = write(tmp_path / "model.onnx", made())
    inspect(path.read_bytes())
    with pytest.raises(ModelError, match=message) as caught:
        OnnxEmotionClassifier(path)
    assert "\n" not in str(caught.value)


def test_a_model_that_works_for_minutes_is_given_up_in_a_trial() -> None:
    content = serialized(slow(2000))
    inspect(content)
    with pytest.raises(RefusedError, match="takes more than 2 s of the processor"):
        try_out(content, cpu_seconds=2)


# --- what says nothing about the model ----------------------------------------------------------


def never_tried() -> Any:
    """A model that does no harm and that this process has not opened before."""
    model = crafted()
    model.metadata_props.add(key="vire.note", value=uuid.uuid4().hex)
    return model


def trials() -> list[psutil.Process]:
    """The processes that try out a model now."""
    return [child for child in psutil.Process().children() if "vire_edge.emotions.trial" in " ".join(child.cmdline())]


def test_a_machine_too_busy_for_a_trial_is_no_fault_of_the_model() -> None:
    content = serialized(never_tried())
    with pytest.raises(UnfinishedError, match=r"trying it out has taken more than 0\.01 s"):
        try_out(content, wall_seconds=0.01)
    try_out(content)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_trial_that_is_ended_from_outside_is_worth_another_one(tmp_path: Path, number: signal.Signals) -> None:
    path = write(tmp_path / "model.onnx", never_tried())
    with ThreadPoolExecutor(1) as pool:
        opening = pool.submit(OnnxEmotionClassifier, path)
        wait_until(lambda: bool(trials()), what="the trial")
        trials()[0].send_signal(number)
        with pytest.raises(ModelUnavailableError, match=rf"model\.onnx: .* from outside \({number.name}\); try again"):
            opening.result()
    assert len(OnnxEmotionClassifier(path).classify(FACES)) == len(FACES)


def test_a_file_that_cannot_be_read_now_is_worth_another_try() -> None:
    # A regular file of which the kernel can read nothing: as a disk or a share that fails.
    with pytest.raises(ModelUnavailableError, match="/proc/self/mem cannot be read: Input/output error") as caught:
        OnnxEmotionClassifier(Path("/proc/self/mem"))
    assert caught.value.exit_status == 75


@pytest.mark.parametrize("wrong", ["none.onnx", "", "file/model.onnx"])
def test_a_wrong_path_stays_wrong(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelError) as caught:
        OnnxEmotionClassifier(tmp_path / wrong)
    assert caught.value.exit_status == 65


def test_a_model_is_tried_out_once_in_a_process(tmp_path: Path) -> None:
    """The daemon builds its pipeline anew in its main loop, which systemd watches over."""

    def children() -> int:
        """Grows with every child that has ended."""
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt

    path, before = write(tmp_path / "model.onnx", never_tried()), children()
    OnnxEmotionClassifier(path)
    tried = children()
    assert tried > before
    OnnxEmotionClassifier(path)
    assert children() == tried
    OnnxEmotionClassifier(write(path, never_tried()))
    assert children() > tried


# --- what stays allowed ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vire.onnx", "vire-int8.onnx"])
def test_the_shipped_models_are_read_as_onnx_reads_them(name: str) -> None:
    content = shipped_model_path().with_name(name).read_bytes()
    inspect(content)
    assert_same(read_model(content), onnx.load_from_string(content), MODEL)


def test_a_model_that_fails_while_it_reads_is_a_model_error() -> None:
    classifier = OnnxEmotionClassifier()
    with pytest.raises(ModelError, match=r"vire\.onnx: it cannot read 2 faces .*vire-edge doctor"):
        classifier.classify(np.zeros((2, 24, 24), dtype=np.uint8))


def test_every_user_s_right_to_change_a_model_is_warned_of(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    path = write(tmp_path / "model.onnx", crafted())
    path.chmod(0o644)
    with capture_logs() as quiet:
        OnnxEmotionClassifier(path)
    path.chmod(0o666)
    with capture_logs() as loud:
        OnnxEmotionClassifier(path)
    assert quiet == []
    assert [(entry["log_level"], entry["remedy"]) for entry in loud] == [("warning", f"chmod o-w {path}")]


def test_a_trial_leaves_the_daemon_s_own_limits_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "model.onnx", crafted())
    code = (
        "import resource, sys; from pathlib import Path; from vire_edge.emotions import OnnxEmotionClassifier\n"
        "kinds = (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE)\n"
        "before = [resource.getrlimit(kind) for kind in kinds]\n"
        "OnnxEmotionClassifier(Path(sys.argv[1]))\n"
        "assert before == [resource.getrlimit(kind) for kind in kinds]"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, cwd=tmp_path)


# --- the reader and onnx's own -----------------------------------------------------------------


ENUMS = {"data_type", "elem_type", "type"}
"""onnx's reader drops all but their lowest 32 bits; inspection knows none above 7."""
PACKED = {"float_data", "int32_data", "int64_data"}
"""Left packed by our reader."""


def assert_same(record: Record, message: Any, schema: Schema) -> None:
    """What our reader found, onnx's reader found with the same values, and nothing else."""
    fields = {field.name: field for field in schema.fields.values()}
    assert {field.name for field, _ in message.ListFields()} <= set(record)
    for name in set(record) - ENUMS - PACKED:
        kind, theirs = fields[name].kind, getattr(message, name)
        theirs = list(theirs) if fields[name].repeated else [theirs]
        ours = record[name]
        if isinstance(kind, Schema):
            assert len(ours) == len(theirs)
            for one, other in zip(ours, theirs, strict=True):
                assert_same(one, other, kind)
        elif kind in ("float", "floats"):
            np.testing.assert_array_equal(np.array(ours, np.float32), np.array(theirs, np.float32))
        else:
            plain = [value.encode() if isinstance(value, str) else value for value in theirs]
            assert [value.encode() if isinstance(value, str) else value for value in ours] == plain, name


SMALL = serialized(crafted([helper.make_node("MaxPool", ["gray"], ["x"], kernel_shape=[1, 1])], taken="x"))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, 1200), st.integers(0, 255)), max_size=4), st.integers(0, 3))
def test_what_the_reader_accepts_onnx_reads_alike(changes: list[tuple[int, int]], cut: int) -> None:
    """No file means one thing to the check and another to the runtime, which parses as onnx does."""
    start = SMALL.index(b"weights") - 20
    damaged = bytearray(SMALL[: len(SMALL) - cut])
    for position, value in changes:
        # The first bytes, and those after the weights: the rest is numbers.
        place = position if position < 600 else len(damaged) - (1200 - position) % (len(damaged) - start)
        damaged[place % len(damaged)] = value
    try:
        record = read_model(bytes(damaged))
    except RefusedError:
        return
    assert_same(record, onnx.load_from_string(bytes(damaged)), MODEL)
