"""Which of the two shipped networks is the quicker one on this processor. Both read faces equally well."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Literal

Precision = Literal["auto", "float32", "int8"]

DOT_PRODUCTS = frozenset({"avx512_vnni", "avx_vnni", "asimddp"})
"""The processor's flags by which ONNX Runtime takes its kernels for products of 8-bit numbers: Intel's and AMD's, and
Arm's from the Cortex-A55 and A76 (Raspberry Pi 5) on. Others widen the numbers first, and lose what they have won."""


def choose_precision(wanted: Precision, flags: AbstractSet[str]) -> Literal["float32", "int8"]:
    """Return the precision to use.

    Args:
        wanted: "auto" for whichever is quicker here.
        flags: the processor's, as Linux names them.
    """
    if wanted == "auto":
        return "int8" if flags & DOT_PRODUCTS else "float32"
    return wanted


def processor_flags(description: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Return the flags of the first processor that Linux describes; none where it does not."""
    try:
        lines = description.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in {"flags", "Features"}:
            return frozenset(value.split())
    return frozenset()
