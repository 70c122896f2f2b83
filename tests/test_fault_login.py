"""Doors that stay shut: one clear line, and patience instead of a storm of connections."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from brokers import Certificates, Mosquitto, MosquittoFactory, Wire
from daemons import DEVICE, Daemon
from fault_table import FaultRow
from faults import Caregiver, eventually, log_lines

pytestmark = pytest.mark.fault

NO_CAMERA = [{"name": "attic", "source": "/dev/video97"}]


@dataclass(frozen=True)
class Shut:
    """A door that stays shut until a person mends something."""

    name: str
    door: Callable[[MosquittoFactory, Certificates, Path], Mosquitto]
    settings: Callable[[Certificates], dict[str, str]]
    says: str
    """What the one line must tell."""


def guarded(start: MosquittoFactory, _certificates: Certificates, folder: Path) -> Mosquitto:
    passwords = folder / "nobody"
    passwords.touch(mode=0o600)
    return start("allow_anonymous false", f"password_file {passwords}")


def expired(start: MosquittoFactory, certificates: Certificates, _folder: Path) -> Mosquitto:
    return start(*certificates.listener(expired=True))


def trusted(start: MosquittoFactory, certificates: Certificates, _folder: Path) -> Mosquitto:
    return start(*certificates.listener())


def demanding(start: MosquittoFactory, certificates: Certificates, _folder: Path) -> Mosquitto:
    return start(*certificates.listener(require_certificate=True))


SHUT = (
    Shut(
        "wrong password",
        guarded,
        lambda _: {"mqtt__username": "device", "mqtt__password": "wrong"},
        'refuses the login of "device"',
    ),
    Shut("expired certificate", expired, lambda known: tls(known.ca), "has expired"),
    Shut("unknown certificate", trusted, lambda known: tls(known.other_ca), "mqtt.tls.ca_file"),
    Shut("no certificate of its own", demanding, lambda known: tls(known.ca), "mqtt.tls.cert_file"),
)


def tls(authority: Path) -> dict[str, str]:
    return {"mqtt__host": "localhost", "mqtt__tls__ca_file": str(authority)}


def test_a_shut_door_is_told_once_and_knocked_at_with_patience(
    tmp_path: Path,
    start_mosquitto: MosquittoFactory,
    certificates: Certificates,
    fault_full: bool,
    fault_row: FaultRow,
) -> None:
    seconds = 300.0 if fault_full else 5.0
    began = time.monotonic()
    with ExitStack() as running:
        doors: list[tuple[Shut, Wire, Daemon]] = []
        for shut in SHUT:
            folder = tmp_path / shut.name.replace(" ", "-")
            folder.mkdir(mode=0o700)
            # Counts every connection; a broker's log leaves out those whose handshake fails.
            wire = running.enter_context(closing(Wire(shut.door(start_mosquitto, certificates, folder).port)))
            settings: dict[str, Any] = {
                "mqtt__host": "127.0.0.1",
                "mqtt__port": str(wire.port),
                "cameras": NO_CAMERA,
            } | shut.settings(certificates)
            doors.append((shut, wire, running.enter_context(Daemon(folder, settings))))
        for shut, _, daemon in doors:
            eventually(partial(unavailable, daemon), what=f"the daemon says: {shut.name}")
        time.sleep(seconds)
        for shut, wire, daemon in doors:
            lines = unavailable(daemon)
            assert len(lines) == 1, lines
            assert shut.says in lines[0], lines
            # The pauses are half a minute, a minute and then two minutes, give or take a fifth.
            assert wire.connections <= 1 + (time.monotonic() - began) / 24
            told = f'attempts: {wire.connections}; one line: "{lines[0]}"'
            fault_row(shut.name, done=f"for {seconds:.0f} s", result=told)


def test_two_daemons_with_one_identity_do_not_fight(
    tmp_path: Path, mosquitto: Mosquitto, fault_full: bool, fault_row: FaultRow
) -> None:
    seconds = 300.0 if fault_full else 0.0
    settings = {"mqtt__host": "127.0.0.1", "mqtt__port": str(mosquitto.port), "cameras": NO_CAMERA}
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir(mode=0o700)
    with Caregiver(mosquitto.port) as caregiver, Daemon(folders[0], settings) as first:
        caregiver.wait_for("availability", "the first daemon", status="online")
        with Daemon(folders[1], settings) as second:
            began = time.monotonic()
            eventually(lambda: explanations(first) or explanations(second), what="one says what may be behind it")
            time.sleep(seconds)
            connects = mosquitto.log.count(f" as vire-edge-{DEVICE} (")
            seconds = time.monotonic() - began
            lines = len(unavailable(first)) + len(unavailable(second))
            second.stop()
        explained = [*explanations(first), *explanations(second)]
        caregiver.wait_for("availability", "the one that is left", status="online")
        first.stop()
    # One, two, four and then eight seconds of pause for each of the two, give or take a fifth.
    assert connects <= 10 + 2 * seconds / 6.4
    assert lines <= 4 + seconds / 10
    fault_row(
        "second daemon with the same identity",
        done=f"both for {seconds:.0f} s",
        result=f'{connects} connections and {lines} lines of both, one is "{explained[0]}"',
    )


def explanations(daemon: Daemon) -> list[str]:
    return [line for line in unavailable(daemon) if f'"vire-edge-{DEVICE}"' in line and "device_id" in line]


def unavailable(daemon: Daemon) -> list[str]:
    return [str(line["reason"]) for line in log_lines(daemon) if line["event"] == "broker_unavailable"]
