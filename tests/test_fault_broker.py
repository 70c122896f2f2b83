"""Broker and network fail in every way: nothing that was raised is lost, and every topic is right soon after."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from brokers import Mosquitto, MosquittoFactory
from daemons import Daemon
from fault_table import FaultRow
from faults import (
    Caregiver,
    check_episodes,
    now,
    raised,
    restless,
    seconds_until_topics_are_right,
    wait_until_all_arrived,
)
from wires import BadWire, Direction

pytestmark = pytest.mark.fault

KEEPALIVE_SECONDS = "5"
PERSISTENT = ("allow_anonymous true", "persistence true", "autosave_interval 1")


def restart(broker: Mosquitto, pause_seconds: float) -> None:
    broker.stop()
    time.sleep(pause_seconds)
    broker.start()


def freeze(broker: Mosquitto, pause_seconds: float) -> None:
    broker.freeze()
    time.sleep(pause_seconds)
    broker.thaw()


def wipe(broker: Mosquitto, pause_seconds: float) -> None:
    broker.stop()
    time.sleep(pause_seconds)
    stored = list(broker.folder.glob("*.db"))
    assert stored, "the broker has stored nothing that could be wiped"
    for file in stored:
        file.unlink()
    broker.start()


@dataclass(frozen=True)
class BrokerFault:
    """Something that happens to a broker, for some seconds."""

    name: str
    inflict: Callable[[Mosquitto, float], None]
    seconds: float
    seconds_full: float


@pytest.mark.parametrize(
    "fault",
    [
        BrokerFault("broker stopped and started again", restart, 3.0, 30.0),
        BrokerFault("broker SIGSTOPped", freeze, 8.0, 60.0),
        BrokerFault("broker's data wiped", wipe, 2.0, 10.0),
    ],
    ids=lambda fault: fault.inflict.__name__,
)
def test_what_the_broker_misses_it_gets(
    tmp_path: Path, start_mosquitto: MosquittoFactory, fault: BrokerFault, fault_full: bool, fault_row: FaultRow
) -> None:
    broker = start_mosquitto(*PERSISTENT, f"persistence_location {tmp_path}/mosquitto-0/")
    seconds = fault.seconds_full if fault_full else fault.seconds
    settings = restless(tmp_path, broker.port, mqtt__keepalive_seconds=KEEPALIVE_SECONDS)
    with Caregiver(broker.port) as caregiver, Daemon(tmp_path, settings) as daemon:
        topics = known_topics(caregiver)
        fault.inflict(broker, seconds)
        back = now()
        # Whoever subscribes first is who an alert is for: one that another has heard is delivered.
        caregiver.wait_until_subscribed()
        right_seconds = seconds_until_topics_are_right(broker, topics, back)
        outcome = finish(daemon, caregiver)
    fault_row(fault.name, done=f"for {seconds:.0f} s", result=f"{outcome}; topics right after {right_seconds:.1f} s")


def test_a_network_that_breaks_in_the_middle_of_a_packet_loses_nothing(
    tmp_path: Path, mosquitto: Mosquitto, fault_full: bool, fault_row: FaultRow
) -> None:
    cuts = 40 if fault_full else 3
    chance = random.Random(7)
    with (
        closing(BadWire(mosquitto.port)) as wire,
        Caregiver(mosquitto.port) as caregiver,
        Daemon(tmp_path, restless(tmp_path, wire.port)) as daemon,
    ):
        topics = known_topics(caregiver)
        for _ in range(cuts):
            # An alert has some 500 bytes, an acknowledgement four.
            out, into = Direction.TO_BROKER, Direction.TO_DEVICE
            way, most = (out, 4000) if chance.random() < 0.6 else (into, 60)
            wire.cut_after(chance.randrange(1, most), way)
        right_seconds = seconds_until_topics_are_right(mosquitto, topics, now())
        outcome = finish(daemon, caregiver)
    fault_row(
        "network cut in the middle of a packet",
        done=f"{cuts} times, after a random number of bytes in either direction",
        result=f"{outcome}; topics right after {right_seconds:.1f} s",
    )


def test_a_slow_link_loses_nothing(tmp_path: Path, mosquitto: Mosquitto, fault_full: bool, fault_row: FaultRow) -> None:
    slow_seconds = 60.0 if fault_full else 6.0
    with (
        closing(BadWire(mosquitto.port)) as wire,
        Caregiver(mosquitto.port) as caregiver,
        Daemon(tmp_path, restless(tmp_path, wire.port)) as daemon,
    ):
        topics = known_topics(caregiver)
        wire.slow_down(bytes_per_second=2000, delay_seconds=0.5)
        time.sleep(slow_seconds)
        connections = wire.connections
        wire.speed_up()
        right_seconds = seconds_until_topics_are_right(mosquitto, topics, now())
        outcome = finish(daemon, caregiver)
    assert connections == 1, "a slow link is no broken one"
    fault_row(
        "slow link",
        done=f"2 kB/s with half a second of delay for {slow_seconds:.0f} s, while eleven events a second came up",
        result=f"{outcome}; topics right after {right_seconds:.1f} s; never disconnected",
    )


def known_topics(caregiver: Caregiver) -> set[str]:
    """Wait until alerts come, and return every topic that shows a state."""
    caregiver.wait_for("availability", "the daemon", status="online")
    caregiver.wait_for("camera/room", "the camera", status="online")
    caregiver.wait_for("alerts", "an alert", event="ended")
    states = {heard.topic for heard in list(caregiver.heard)} - {"alerts"}
    assert {"availability", "camera/room", "state/room", "alerts/active", "health"} <= states
    return states


def finish(daemon: Daemon, caregiver: Caregiver) -> str:
    """Stop the daemon once it has caught up; check that nothing is lost, and say how much that was."""
    wait_until_all_arrived(daemon, caregiver)
    daemon.stop()
    wait_until_all_arrived(daemon, caregiver)
    repeats = check_episodes(caregiver.alerts, all_ended=True)
    assert "Traceback" not in daemon.log
    return f"{len(set(raised(daemon)))} events raised, 0 lost, {repeats} repeats"
