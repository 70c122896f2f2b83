from __future__ import annotations

import os
import random
import time
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fault_table import FaultRow
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from vire_edge.config import example_toml, load_config
from vire_edge.config.toml import dump_toml
from vire_edge.errors import ConfigError

EXAMPLE = example_toml().encode()
SETTINGS = "\n".join(
    line.removeprefix("#")
    for line in example_toml().splitlines()
    if not line.startswith("# ") and "…" not in line and "= {}" not in line
).encode()
"""All settings set to their defaults, without a comment."""

TEXTS = st.sampled_from(
    [
        "", "x" * 5000, "\0", "\x1b[31m", "line\nline\r\n", "\u2028", "𝔘", "ü" * 70, "../../etc/passwd", "%s%n{0}{key}",
        "rtsp://u:hunter2@h/", "http://[", "$(reboot)", "null", "-1", "1e999", "08:00-99:00", "a" * 64, "'", '"""',
    ]
)  # fmt: skip
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none().map(lambda _: True),
        st.booleans(),
        st.integers(),
        st.sampled_from([0, 1, 10, 0.5, -1, 2**31, 2**63, 2**64, 10**400]),
        st.floats(),
        TEXTS,
        st.text(st.characters(codec="utf-8"), max_size=30),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(st.characters(codec="utf-8")), inner)),
    max_leaves=8,
)


def swap_a_value(values: dict[str, Any], key: int, value: Any) -> None:
    table = pick_table(values, key)
    name = sorted(table)[key % len(table)]
    table[name] = value


def rename_a_key(values: dict[str, Any], key: int, value: Any) -> None:
    table = pick_table(values, key)
    name = sorted(table)[key % len(table)]
    table[value if isinstance(value, str) else name.upper()] = table.pop(name)


def repeat_tables(values: dict[str, Any], key: int, value: Any) -> None:
    for name in ("alerts", "cameras"):
        if isinstance(values.get(name), list):
            values[name] = values[name][:5] * (key % 100) + [value] * (key % 2)


def pick_table(values: dict[str, Any], key: int) -> dict[str, Any]:
    tables = [values] + [item for item in values.values() if isinstance(item, dict)]
    tables += [item for part in values.values() if isinstance(part, list) for item in part if isinstance(item, dict)]
    return [table for table in tables if table][key % sum(map(bool, tables))]


MUTATIONS = (swap_a_value, rename_a_key, repeat_tables)


def outcome(path: Path) -> str:
    """Load a file as the daemon does; nothing but a configuration or one clear line may come of it."""
    started = time.thread_time()  # what other tests have left running in this process is not this file's doing
    try:
        load_config(path, environ={})
        told = ""
    except ConfigError as error:
        told = str(error)
        assert told.startswith(f"configuration {path}") or "password_file: " in told
        assert told.isprintable()
        assert len(told) < 5000
        assert "hunter2" not in told
    assert time.thread_time() - started < 1, "a file that keeps the daemon busy"
    return "refused" if told else "accepted"


@pytest.mark.fault
def test_a_mutated_configuration_is_accepted_or_refused_in_one_line(
    tmp_path: Path, fault_full: bool, fault_row: FaultRow
) -> None:
    path, seen = tmp_path / "config.toml", Counter[str]()

    @settings(
        max_examples=1000 if fault_full else 100,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(st.tuples(st.sampled_from(MUTATIONS), st.integers(0, 10_000), VALUES), min_size=1, max_size=3))
    def values_of_other_types(changes: list[tuple[Callable[..., None], int, Any]]) -> None:
        values = tomllib.loads(SETTINGS.decode())
        for change, key, value in changes:
            change(values, key, value)
        path.write_text(dump_toml(values), encoding="utf-8")
        seen[outcome(path)] += 1

    values_of_other_types()
    chance = random.Random(4)
    for _ in range(1000 if fault_full else 100):
        path.write_bytes(damaged(chance.choice([EXAMPLE, SETTINGS]), chance))
        seen[outcome(path)] += 1
    assert seen["accepted"] > 0
    assert seen["refused"] > 0
    fault_row(
        "fuzzed configuration files",
        done=f"{seen.total():,}: other types, names, sizes, bytes",
        result=f"{seen['accepted']:,} still valid, {seen['refused']:,} refused in one line, no crash, none above 1 s",
    )


def damaged(content: bytes, chance: random.Random) -> bytes:
    """What editors, disks and attackers do to a file."""
    data = bytearray(content)
    place = chance.randrange(len(data))
    match chance.randrange(8):
        case 0:
            for _ in range(chance.choice([1, 5, 100])):
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        case 1:
            del data[place:]
        case 2:
            data[place:place] = chance.choice([b"[", b"{a=", b"a.", b'"""', b"'", b"\0", b"9"]) * chance.randrange(6000)
        case 3:
            data[place:place] = bytes(chance.randrange(256) for _ in range(20))
        case 4:
            lines = data.split(b"\n")
            chance.shuffle(lines)
            data = bytearray(b"\n".join(lines))
        case 5:
            data += b"\n".join(b"k%d = %d" % (number, number) for number in range(chance.randrange(30_000)))
        case 6:
            data[place : place + 50] = data[: chance.randrange(2000)]
        case _:
            digits = chance.choice([30, 400, 4000])
            data = bytearray(data.replace(b"= 0", b"= " + b"7" * digits).replace(b"= 1", b"= 0x" + b"1" * digits))
    return bytes(data)


HOSTILE = ["", "[", "{}", "[[[[", '{"a": 1}', "9" * 5000, "null", "NaN", '"x"', '[{"source": "\\ud800"}]', "x" * 10**6]


@pytest.mark.parametrize("name", ["CAMERAS", "ALERTS", "MQTT", "MQTT__PORT", "MQTT__TLS", "MQTT__TLS__CA_FILE", "LOG"])
def test_a_hostile_variable_is_refused_in_one_line(name: str) -> None:
    for text in [*HOSTILE, "[" * 60_000, '{"a":' * 10_000, os.fsdecode(b"\xff")]:
        try:
            load_config(environ={f"VIRE_EDGE_{name}": text})
        except ConfigError as error:
            told = str(error)
        else:
            told = ""
        assert told == "" or told.isprintable()
        assert len(told) < 2000


@pytest.mark.parametrize("name", ["", "_", "__", "X" * 10_000, "A__" * 5000, "MQTT__" * 5, "\udcff", "MQTT__HOST\n"])
def test_a_hostile_variable_s_name_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(environ={f"VIRE_EDGE_{name}": "x"})
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 2000
