"""`vire-edge doctor`: looks at everything that the daemon needs and says what to do about what is wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from vire_edge.cli.doctor.check import Check, Status, failure, skipped
from vire_edge.cli.options import ConfigOption

_LOOKS = {
    Status.OK: ("✓", "green"),
    Status.WARNING: ("!", "yellow"),
    Status.FAILURE: ("✗", "red"),
    Status.SKIPPED: ("–", "bright_black"),
}
_NEEDS_CONFIGURATION = "needs a valid configuration"


def doctor(
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", metavar="", help="Print the results as JSON.")] = False,
) -> None:
    """Look at everything the daemon needs: cameras, model, broker, clock, disk … and say how to mend it.

    Exit status 1 if anything is broken; a warning is no failure. On an installed device run it as the
    service's user: sudo -u vire-edge vire-edge doctor
    """
    _silence_logs()
    interactive = sys.stdout.isatty() and not as_json
    with _busy() if interactive else nullcontext():
        checks = list(examine(config))
    if as_json:
        broken = any(check.status is Status.FAILURE for check in checks)
        print(json.dumps({"healthy": not broken, "checks": [asdict(check) for check in checks]}, ensure_ascii=False))
    elif interactive:
        _print_table(checks)
    else:
        _print_lines(checks)
    if any(check.status is Status.FAILURE for check in checks):
        raise typer.Exit(1)


def examine(path: Path | None) -> Iterator[Check]:
    """Look at one thing after the other; what needs a valid configuration is skipped without one.

    Args:
        path: the configuration file; None for the default one.
    """
    from vire_edge.cli.doctor import device, files, network

    service = device.service_state()
    yield device.check_python()
    yield device.check_memory()
    yield device.check_clock()
    yield device.check_heat()
    config, found = files.check_configuration(path)
    yield from found
    if config is None:
        yield from _look_without_configuration()
        yield device.check_service(service)
        return
    yield files.check_state_directory(config)
    holder = network.find_holder(config, service_runs=service == "active")
    try:
        from vire_edge.cli.doctor import pause, vision
    except ImportError as error:
        yield _missing_library(error)
        yield from (skipped(name, "needs OpenCV") for name in ("model", "cameras"))
    else:
        yield vision.check_opencv()
        yield vision.check_model(config.model)
        if (until := pause.paused_until(config)) is None:
            yield from vision.check_cameras(config.cameras, holder=holder)
        else:
            yield from pause.leave_cameras_closed(config, until)
    yield from network.check_broker(config, holder=holder)
    yield device.check_service(service)


def _look_without_configuration() -> Iterator[Check]:
    yield skipped("state directory", _NEEDS_CONFIGURATION)
    try:
        from vire_edge.cli.doctor import vision
    except ImportError as error:
        yield _missing_library(error)
    else:
        yield vision.check_opencv()
    yield from (skipped(name, _NEEDS_CONFIGURATION) for name in ("model", "cameras", "broker"))


def _missing_library(error: ImportError) -> Check:
    return failure("opencv", str(error), "sudo apt-get install libgl1 libglib2.0-0")


def _silence_logs() -> None:
    """What the parts would log here, the results say."""
    import logging

    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def _busy() -> AbstractContextManager[object]:
    from rich.console import Console

    return Console(stderr=True).status("Looking at cameras, model and broker …")


def _print_table(checks: list[Check]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for check in checks:
        sign, style = _LOOKS[check.status]
        detail = Text(check.detail)
        if check.remedy:
            detail.append(f"\n→ {check.remedy}", style=style)
        table.add_row(Text(sign, style=style), Text(check.name), detail)
    console = Console()
    console.print(table)
    console.print(_summary(checks), markup=False, highlight=False)


def _print_lines(checks: list[Check]) -> None:
    width = max(len(check.name) for check in checks)
    for check in checks:
        remedy = f"; {check.remedy}" if check.remedy else ""
        print(f"{check.status:<8} {check.name:<{width}}  {check.detail}{remedy}")
    print(_summary(checks))


def _summary(checks: list[Check]) -> str:
    count: Callable[[Status], int] = [check.status for check in checks].count
    failures, warnings = count(Status.FAILURE), count(Status.WARNING)
    if not failures and not warnings:
        return "All is well."
    words = [
        f"{number} {word}{'s' * (number > 1)}"
        for number, word in ((failures, "failure"), (warnings, "warning"))
        if number
    ]
    return f"{' and '.join(words)}."
