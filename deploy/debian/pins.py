# ruff: noqa: INP001 - a script beside the package it is for
"""The Python packages inside the Debian package: what to ask pip for, and what it found as pins with digests."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path


def wanted(project: Path) -> str:
    """Return what the program asks for, a requirement a line."""
    requirements: list[str] = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]
    # The same OpenCV without its windows, which the program never opens: 38 MB less, and no libGL on a device
    # that has no screen.
    return "".join(f"{one.replace('opencv-python', 'opencv-python-headless')}\n" for one in requirements)


def pinned(reports: list[Path]) -> str:
    """Return pip's installation reports, one for each architecture, as one list of pins.

    Raises:
        SystemExit: the architectures would get different versions.
    """
    digests: dict[str, set[str]] = {}
    for report in reports:
        for package in json.loads(report.read_text(encoding="utf-8"))["install"]:
            pin = f"{package['metadata']['name'].lower()}=={package['metadata']['version']}"
            digests.setdefault(pin, set()).add(package["download_info"]["archive_info"]["hashes"]["sha256"])
    names = [pin.partition("==")[0] for pin in digests]
    if len(set(names)) < len(names):
        sys.exit(f"error: the architectures get different versions: {' '.join(sorted(digests))}")
    lines = [
        " \\\n    ".join([pin, *(f"--hash=sha256:{digest}" for digest in sorted(digests[pin]))]) for pin in digests
    ]
    return "# Made by: deploy/build-deb.sh --pin\n" + "".join(f"{line}\n" for line in sorted(lines))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["wanted", project]:
            sys.stdout.write(wanted(Path(project)))
        case ["pinned", *reports]:
            sys.stdout.write(pinned([Path(report) for report in reports]))
        case _:
            sys.exit("usage: pins.py wanted PYPROJECT | pinned REPORT...")
