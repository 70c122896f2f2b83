"""Fixtures that several test files share."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from brokers import certificates, mosquitto, mosquitto_with_login, start_mosquitto

__all__ = ["certificates", "mosquitto", "mosquitto_with_login", "start_mosquitto"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--fault-full` runs the fault suite whole; without it each fault is shown in short."""
    parser.addoption("--fault-full", action="store_true", help="run the tests marked 'fault' in full length")


@pytest.fixture(scope="session")
def fault_full(pytestconfig: pytest.Config) -> bool:
    """Whether the fault suite runs whole."""
    return bool(pytestconfig.getoption("--fault-full"))


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard() -> Iterator[None]:
    """A shell starts a background job with SIGINT ignored, and children inherit that: the tests press Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
