"""Bytes of an ONNX file → its fields. Strict and bounded: whatever our exporter never writes is refused.

A protobuf reader of its own, because the edge has no `onnx` package, and because a usual one would skip what it does
not know and leave it to ONNX Runtime. https://protobuf.dev/programming-guides/encoding/, field numbers from onnx.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MAX_FIELDS = 100_000
"""The largest export, attention in int8, has 13,291. This bounds the time that reading takes."""
MAX_TEXT_BYTES = 65_536
"""The longest is the metadata's metrics, 2 kB."""
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5

Record = dict[str, list[Any]]
"""Field name → its values in the file's order; a field that is not there has no key."""


class RefusedError(ValueError):
    """Why a model file is not used, in words that fit behind its name."""


@dataclass(frozen=True, slots=True)
class Field:
    """What may stand under one field number."""

    name: str
    kind: str | Schema
    """"int", "ints", "float", "floats" (both packed or one by one), "text", "bytes" or a message."""
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Schema:
    """A message: the fields that our exporter writes, and names for some that it never does."""

    name: str
    fields: Mapping[int, Field]
    refused: Mapping[int, str] = field(default_factory=dict)


_ENTRY = Schema("entry", {1: Field("key", "text"), 2: Field("value", "text")})
_DIMENSION = Schema("dimension", {1: Field("dim_value", "int"), 2: Field("dim_param", "text")})
_SHAPE = Schema("shape", {1: Field("dim", _DIMENSION, repeated=True)})
_TENSOR_TYPE = Schema("tensor type", {1: Field("elem_type", "int"), 2: Field("shape", _SHAPE)})
_TYPE = Schema("type", {1: Field("tensor_type", _TENSOR_TYPE)})
_VALUE = Schema("value", {1: Field("name", "text"), 2: Field("type", _TYPE), 3: Field("doc_string", "text")})
_TENSOR = Schema(
    "tensor",
    {
        1: Field("dims", "ints", repeated=True),
        2: Field("data_type", "int"),
        4: Field("float_data", "bytes"),
        5: Field("int32_data", "bytes"),
        7: Field("int64_data", "bytes"),
        8: Field("name", "text"),
        9: Field("raw_data", "bytes"),
        12: Field("doc_string", "text"),
    },
    refused={3: "a segment", 13: "data in another file", 14: "data in another file"},
)
_ATTRIBUTE = Schema(
    "attribute",
    {
        1: Field("name", "text"),
        2: Field("f", "float"),
        3: Field("i", "int"),
        4: Field("s", "text"),
        7: Field("floats", "floats", repeated=True),
        8: Field("ints", "ints", repeated=True),
        13: Field("doc_string", "text"),
        20: Field("type", "int"),
    },
    refused={
        5: "a tensor", 6: "a graph", 10: "tensors", 11: "graphs", 21: "a function's parameter",
        22: "a sparse tensor", 23: "sparse tensors",
    },
)  # fmt: skip
_NODE = Schema(
    "node",
    {
        1: Field("input", "text", repeated=True),
        2: Field("output", "text", repeated=True),
        3: Field("name", "text"),
        4: Field("op_type", "text"),
        5: Field("attribute", _ATTRIBUTE, repeated=True),
        6: Field("doc_string", "text"),
        7: Field("domain", "text"),
        9: Field("metadata_props", _ENTRY, repeated=True),
    },
    refused={8: "a function's overload"},
)
_GRAPH = Schema(
    "graph",
    {
        1: Field("node", _NODE, repeated=True),
        2: Field("name", "text"),
        5: Field("initializer", _TENSOR, repeated=True),
        10: Field("doc_string", "text"),
        11: Field("input", _VALUE, repeated=True),
        12: Field("output", _VALUE, repeated=True),
        13: Field("value_info", _VALUE, repeated=True),
        16: Field("metadata_props", _ENTRY, repeated=True),
    },
    refused={15: "sparse tensors"},
)
_OPERATOR_SET = Schema("operator set", {1: Field("domain", "text"), 2: Field("version", "int")})
MODEL = Schema(
    "model",
    {
        1: Field("ir_version", "int"),
        2: Field("producer_name", "text"),
        3: Field("producer_version", "text"),
        4: Field("domain", "text"),
        5: Field("model_version", "int"),
        6: Field("doc_string", "text"),
        7: Field("graph", _GRAPH),
        8: Field("opset_import", _OPERATOR_SET, repeated=True),
        14: Field("metadata_props", _ENTRY, repeated=True),
    },
    refused={20: "training information", 25: "functions of its own"},
)
_WIRE_TYPES = {
    "int": (_VARINT,), "ints": (_VARINT, _LENGTH), "float": (_FIXED32,), "floats": (_FIXED32, _LENGTH),
    "text": (_LENGTH,), "bytes": (_LENGTH,),
}  # fmt: skip


def read_model(content: bytes) -> Record:
    """Read an ONNX file's fields, tensors' data as views of `content`.

    Raises:
        RefusedError: it is damaged, has more than `MAX_FIELDS` fields, or one that our exporter never writes.
    """
    return _Reader().message(memoryview(content), MODEL)


def count_varints(packed: memoryview) -> int:
    """Return how many numbers a packed field of variable-length integers holds."""
    return int(np.count_nonzero(np.frombuffer(packed, np.uint8) < 128))


class _Reader:
    """Nothing but the number of fields read so far. Nested as deep as the schemas are, which hold no cycle."""

    def __init__(self) -> None:
        self._fields = 0

    def message(self, view: memoryview, schema: Schema) -> Record:
        found: Record = {}
        position = 0
        while position < len(view):
            self._count()
            tag, position = _varint(view, position)
            number, wire = tag >> 3, tag & 7
            expected = schema.fields.get(number)
            if number in schema.refused:
                raise RefusedError(
                    f"a {schema.name} holds {schema.refused[number]}, which vire-edge export never writes"
                )
            if expected is None:
                raise _damaged(f"a {schema.name} has no field {number}")
            if wire not in _WIRE_TYPES.get(expected.kind if isinstance(expected.kind, str) else "bytes", ()):
                raise _damaged(f"{expected.name} of a {schema.name} has the wire type {wire}")
            values = found.setdefault(expected.name, [])
            if values and not expected.repeated:
                raise _damaged(f"{expected.name} of a {schema.name} stands there twice")
            raw, position = _payload(view, position, wire)
            values.extend(self._values(raw, expected))
        return found

    def _values(self, raw: int | memoryview, expected: Field) -> Iterator[Any]:
        """The values of one field: several where it is packed."""
        kind = expected.kind
        if isinstance(raw, int):
            yield raw - (1 << 64) if raw >> 63 else raw
        elif isinstance(kind, Schema):
            yield self.message(raw, kind)
        elif kind == "text":
            yield _text(raw, expected.name)
        elif kind in ("float", "floats"):
            if len(raw) % 4:
                raise _damaged(f"{expected.name} is no list of floats")
            for (number,) in struct.iter_unpack("<f", raw):
                self._count()
                yield number
        elif kind == "ints":
            position = 0
            while position < len(raw):
                self._count()
                number, position = _varint(raw, position)
                yield number - (1 << 64) if number >> 63 else number
        else:
            yield raw

    def _count(self) -> None:
        self._fields += 1
        if self._fields > MAX_FIELDS:
            raise _damaged(f"it has more than {MAX_FIELDS:,} fields")


def _payload(view: memoryview, position: int, wire: int) -> tuple[int | memoryview, int]:
    if wire == _VARINT:
        return _varint(view, position)
    length = 4
    if wire == _LENGTH:
        length, position = _varint(view, position)
    if length > len(view) - position:
        raise _damaged(f"it ends {length - len(view) + position:,} bytes too early")
    return view[position : position + length], position + length


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(view):
            raise _damaged("it ends within a number")
        byte = view[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            if value >> 64:
                break
            return value, position
    raise _damaged("a number is longer than 64 bits")


def _text(raw: memoryview, name: str) -> str:
    if len(raw) > MAX_TEXT_BYTES:
        raise _damaged(f"{name} has {len(raw):,} bytes of text")
    try:
        return str(raw, "utf-8")
    except UnicodeDecodeError:
        raise _damaged(f"{name} is no UTF-8 text") from None


def _damaged(how: str) -> RefusedError:
    return RefusedError(f"it is truncated or no ONNX model ({how})")
