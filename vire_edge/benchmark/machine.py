"""What a result was measured on."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

import vire_edge

CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Machine:
    """A computer and the versions of what does the work."""

    processor: str
    cores: int
    """Those that this process may use."""
    load: float
    """Processes that wanted a core in the minute before: above 0 others were at work."""
    versions: dict[str, str]

    def __str__(self) -> str:
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return f"{self.processor}, {self.cores} cores, load before {self.load:.1f}; {versions}"


def this_machine(cpu_info: Path = CPU_INFO) -> Machine:
    """Describe the computer that this runs on.

    Args:
        cpu_info: where the kernel describes the processor.
    """
    return Machine(
        processor=_processor(cpu_info),
        cores=len(os.sched_getaffinity(0)),
        load=os.getloadavg()[0],
        versions={
            "VIRE Edge": vire_edge.__version__,
            "Python": platform.python_version(),
            "OpenCV": cv2.__version__,
            "ONNX Runtime": onnxruntime.__version__,
            "NumPy": np.__version__,
        },
    )


def _processor(cpu_info: Path) -> str:
    """Its name; a Raspberry Pi's kernel tells the board's instead."""
    try:
        lines = cpu_info.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    found = dict(line.split(":", 1) for line in lines if ":" in line)
    names = {key.strip(): value.strip() for key, value in found.items()}
    return names.get("model name") or names.get("Model") or platform.machine()
