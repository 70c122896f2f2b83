from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_table import FaultRow

from vire_edge.emotions import shipped_model_path
from vire_edge.emotions.wire import MODEL, Schema, _payload, _varint

WORKER = """
import json, sys, time
from pathlib import Path
import numpy as np
from vire_edge.emotions import OnnxEmotionClassifier
from vire_edge.errors import ModelError
faces = np.random.default_rng(1).integers(0, 256, (3, 48, 48), dtype=np.uint8)
for path in map(Path, sys.argv[1:]):
    started = time.monotonic()
    try:
        for scores in OnnxEmotionClassifier(path).classify(faces):
            assert abs(sum(scores.probabilities) - 1) < 1e-2
        outcome = ""
    except ModelError as error:
        outcome = str(error)
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]
    print(json.dumps([path.name, outcome, time.monotonic() - started, int(peak) >> 10]), flush=True)
"""
"""Opens file after file as the daemon would: a crash ends it, and its last line tells where."""


def beginnings(content: bytes, schema: Schema = MODEL, start: int = 0, end: int | None = None) -> Iterator[int]:
    """Where the fields of a model begin, but for those inside of a constant's numbers."""
    view, position = memoryview(content)[:end], start
    while position < len(view):
        yield position
        tag, position = _varint(view, position)
        field = schema.fields[tag >> 3]
        before = position
        _, position = _payload(view, position, tag & 7)
        if isinstance(field.kind, Schema):
            _, inside = _varint(view, before)
            yield from beginnings(content, field.kind, inside, position)


def damaged(content: bytes, places: list[int], chance: random.Random) -> bytes:
    """One of the ways in which a file is damaged by a disk, a transfer or a hand."""
    data = bytearray(content)
    place = chance.choice(places)
    match chance.randrange(9):
        case 0:  # anywhere: mostly in the weights
            for _ in range(chance.choice([1, 10, 1000])):
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        case 1:
            del data[chance.randrange(len(data)) :]
        case 2:  # a piece from elsewhere
            other = chance.randrange(len(data))
            data[place : place + 64] = data[other : other + 64]
        case 3:  # a field's number, its type or its length
            data[place + chance.randrange(2)] = chance.randrange(256)
        case 4:  # a length or number as large as it can be
            data[place + 1 : place + 2] = b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f"
        case 5:
            del data[place : place + chance.randrange(1, 40)]
        case 6:  # what follows a field's beginning: dims, attributes, types, texts
            data[place + 2 + chance.randrange(8)] ^= 1 << chance.randrange(8)
        case 7:  # a whole field twice
            data[place:place] = data[place : chance.choice(places)][:1000]
        case _:
            _change_operator(data, place, chance)
    return bytes(data)


def _change_operator(data: bytearray, place: int, chance: random.Random) -> None:
    """Put the name of another operator in the place of the next one of the same length."""
    names = [b"Conv", b"Relu", b"Cast", b"Gemm", b"Add", b"Mul", b"Squeeze", b"Softmax", b"Reshape"]
    old, new = chance.choice(names), chance.choice(names)
    at = data.find(b"\x22" + bytes([len(old)]) + old, place)
    if at >= 0 and len(old) == len(new):
        data[at + 2 : at + 2 + len(new)] = new
    else:
        data[place] ^= 255


@pytest.mark.fault
@pytest.mark.timeout(900)  # in full, each of 500 files may be opened in a process of its own
def test_a_damaged_model_is_refused_or_still_gives_probabilities(
    tmp_path: Path, fault_full: bool, fault_row: FaultRow
) -> None:
    content = shipped_model_path().with_name("vire-int8.onnx").read_bytes()
    places = list(beginnings(content))
    chance = random.Random(4)
    batch, count = 25, 500 if fault_full else 25
    outcomes: Counter[str] = Counter()
    most_seconds, most_mib = 0.0, 0
    for first in range(0, count, batch):
        paths = [tmp_path / f"{number}.onnx" for number in range(first, first + batch)]
        for path in paths:
            path.write_bytes(damaged(content, places, chance))
        done = subprocess.run(
            [sys.executable, "-c", WORKER, *map(str, paths)], capture_output=True, text=True, timeout=300, check=False
        )
        results = [json.loads(line) for line in done.stdout.splitlines()]
        assert [name for name, *_ in results] == [path.name for path in paths], done.stderr
        assert done.returncode == 0
        for path, (name, outcome, seconds, peak_mib) in zip(paths, results, strict=True):
            assert "\n" not in outcome
            assert outcome == "" or (outcome.startswith(f"model {path}: ") and "vire-edge export" in outcome), name
            assert seconds < 60
            assert peak_mib < 400
            outcomes["refused" if outcome else "used"] += 1
            most_seconds, most_mib = max(most_seconds, seconds), max(most_mib, peak_mib)
            path.unlink()
    assert outcomes["used"] > 0
    assert outcomes["refused"] > count / 4
    fault_row(
        "damaged model files",
        done=f"{count}: flips, cuts, splices, lengths, fields, operators",
        result=f"{outcomes['refused']} refused in one line, {outcomes['used']} still give probabilities, no crash; "
        f"at most {most_seconds:.1f} s and {most_mib} MiB",
    )
