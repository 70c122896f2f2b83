"""Fixtures and options that several test files share."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from brokers import certificates, mosquitto, mosquitto_with_login, start_mosquitto
from disks import disk
from fault_table import FaultTable, add_options, fault_full, fault_row

__all__ = [
    "certificates",
    "disk",
    "fault_full",
    "fault_row",
    "mosquitto",
    "mosquitto_with_login",
    "start_mosquitto",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--fault-full` runs the fault suite whole; without it each fault is shown in short."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Collect the fault suite's results."""
    config.pluginmanager.register(FaultTable(config))


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard() -> Iterator[None]:
    """A shell starts a background job with SIGINT ignored, and children inherit that: the tests press Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
