"""The fault suite's table of results: each test tells what it did and measured, and the run prints it as Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

FaultRow = Callable[..., None]
"""`fault_row(fault, done=…, result=…)` adds the test's row; called once it has shown what it says."""

HEAD = ("| fault | what was done | result |", "| --- | --- | --- |")
_ROW = "fault_row"
_FULL_SECONDS = 4 * 3600.0
"""A fault test in full length may take this long."""


def add_options(parser: pytest.Parser) -> None:
    """Declare the options of the fault suite."""
    group = parser.getgroup("faults")
    group.addoption("--fault-full", action="store_true", help="run the tests marked 'fault' in full length")
    group.addoption("--fault-table", type=Path, metavar="FILE", help="write their results to FILE as Markdown")


@pytest.fixture(scope="session")
def fault_full(pytestconfig: pytest.Config) -> bool:
    """Whether the fault suite runs whole."""
    return bool(pytestconfig.getoption("--fault-full"))


@pytest.fixture
def fault_row(record_property: Callable[[str, object], None]) -> FaultRow:
    """Takes a test's row of the table."""

    def tell(fault: str, *, done: str, result: str) -> None:
        record_property(_ROW, (fault, done, result))

    return tell


class FaultTable:
    """A plugin: collects the rows of all tests that are marked `fault`."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._rows: list[tuple[str, ...]] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Give the tests time for their full length."""
        for item in items if self._config.getoption("--fault-full") else ():
            if item.get_closest_marker("fault") is not None:
                item.add_marker(pytest.mark.timeout(_FULL_SECONDS), append=False)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what a test has told, or that it has failed or was left out."""
        if "fault" not in report.keywords or (report.when != "call" and report.passed):
            return
        told = [value for name, value in report.user_properties if name == _ROW]
        name = re.sub(r"^test_|_", " ", report.nodeid.rpartition("::")[2]).strip()
        if report.skipped:
            self._rows.append((name, "left out", str(report.longrepr[2] if isinstance(report.longrepr, tuple) else "")))
        elif report.failed:
            self._rows.append((name, f"in {report.when}", "**failed**"))
        elif told:
            self._rows.extend(row for row in told if isinstance(row, tuple))
        else:
            self._rows.append((name, "as its name says", f"held, {report.duration:.0f} s"))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table, and write it where it was asked for."""
        if not self._rows:
            return
        lines = [*HEAD, *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in self._rows)]
        terminalreporter.section("faults")
        for line in lines:
            terminalreporter.write_line(line)
        if (path := self._config.getoption("--fault-table")) is not None:
            Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")
