"""The way to the broker, begun anew: what was not acknowledged arrives all the same, and losses are trouble."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from brokers import PATIENCE_SECONDS, Mosquitto, wait_until
from rooms import Room

from vire_edge.daemon.delivery import STANDSTILL_SECONDS, Delivery
from vire_edge.daemon.trouble import LINGER_SECONDS, UNHEARD_SECONDS, TroubleWatch
from vire_edge.domain import DeviceTrouble, Instant, Message, Severity
from vire_edge.mqtt import CommandReceived, Connected, MqttConnection
from vire_edge.mqtt.observer import Observer, Received
from vire_edge.outbox import Outbox
from vire_edge.outbox.folder import DATABASE

CAPACITY = 20


def moment(seconds: float | None = None) -> Instant:
    return Instant(time.monotonic() if seconds is None else seconds, datetime.now(UTC))


def alert(number: int, *, expiry_seconds: int = 3600) -> Message:
    payload = str(number).encode()
    return Message("vire/hall/alerts", payload, expiry_seconds=expiry_seconds, severity=Severity.WARNING)


@pytest.fixture
def outbox() -> Outbox:
    return Outbox.open(None, CAPACITY, moment())


@pytest.fixture
def delivery(mosquitto: Mosquitto, outbox: Outbox) -> Iterator[Delivery]:
    delivery = Delivery(
        lambda events: MqttConnection(
            mosquitto.config(),
            client_id="hall",
            command_filter="vire/hall/command/+",
            will=lambda: Message("vire/hall/availability", b"offline", retain=True),
            wake=threading.Event(),
            alerts=outbox,
            events=events,
        )
    )
    yield delivery
    delivery.stop(None, timeout_seconds=1.0)


def arrived(observer: Observer, count: int) -> list[int]:
    """The numbers of the alerts that arrive, repeats left out, in their order."""
    seen: list[int] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(seen) < count and (left := deadline - time.monotonic()) > 0:
        message = observer.receive(left)
        if isinstance(message, Received) and message.topic == "vire/hall/alerts" and int(message.payload) not in seen:
            seen.append(int(message.payload))
    return seen


def test_a_connection_that_has_ended_is_replaced_and_delivers_what_waits(
    mosquitto: Mosquitto, outbox: Outbox, delivery: Delivery
) -> None:
    assert delivery.complaint(time.monotonic()) == "has ended"
    delivery.start()
    assert delivery.complaint(time.monotonic()) == ""
    with Observer(mosquitto.config(), "vire/hall/#") as observer:
        observer.wait_subscribed(PATIENCE_SECONDS)
        outbox.append([alert(0)], now=moment())
        delivery.deliver()
        assert arrived(observer, 1) == [0]
        wait_until(lambda: not len(outbox), what="its acknowledgement")

        mosquitto.freeze()  # so that these are in flight when the connection is given up
        outbox.append([alert(number) for number in range(1, 6)], now=moment())
        delivery.deliver()
        delivery.restart()
        mosquitto.thaw()
        assert arrived(observer, 5) == [1, 2, 3, 4, 5]
    wait_until(lambda: not len(outbox), what="the acknowledgements")
    stats = delivery.stats()
    assert (stats.delivered, stats.reconnects) == (6, 1)


def test_a_command_that_nobody_has_read_outlasts_its_connection(mosquitto: Mosquitto, delivery: Delivery) -> None:
    delivery.start()
    with Observer(mosquitto.config(), "vire/hall/#") as observer:
        observer.wait_subscribed(PATIENCE_SECONDS)
        wait_until(lambda: "Sending SUBACK to hall" in mosquitto.log, what="the subscription to commands")
        observer.publish(Message("vire/hall/command/pause", b"{}"))
        wait_until(lambda: delivery.events.qsize() == 2, what="the connection and the command")
    delivery.restart()
    assert isinstance(delivery.events.get(), Connected)
    assert isinstance(command := delivery.events.get(), CommandReceived)
    assert command.verb == "pause"


def test_a_thread_that_takes_no_step_is_a_standstill(delivery: Delivery) -> None:
    delivery.start()
    soon = time.monotonic() + STANDSTILL_SECONDS
    assert delivery.complaint(soon - 10.0) == ""
    assert "has not moved for" in delivery.complaint(soon + 10.0)


def test_an_alert_that_was_given_up_is_trouble_for_a_while(outbox: Outbox, delivery: Delivery) -> None:
    watch = TroubleWatch(Room().analysis, outbox, delivery)
    outbox.append([alert(number) for number in range(CAPACITY)], now=moment(0.0))
    assert watch.look(0.0) == frozenset()
    outbox.append([alert(CAPACITY)], now=moment(1.0))
    assert watch.look(1.0) == {DeviceTrouble.DELIVERY}
    assert watch.look(LINGER_SECONDS) == {DeviceTrouble.DELIVERY}
    assert watch.look(1.0 + LINGER_SECONDS) == frozenset()


def test_a_damaged_state_file_is_trouble_for_a_while(tmp_path: Path, delivery: Delivery) -> None:
    (tmp_path / DATABASE).write_bytes(b"no database" * 1000)
    with contextlib.closing(Outbox.open(tmp_path, CAPACITY, moment(0.0))) as outbox:
        watch = TroubleWatch(Room().analysis, outbox, delivery)
        assert outbox.trouble == ""
        assert watch.look(0.0) == {DeviceTrouble.STORAGE}
        assert watch.look(LINGER_SECONDS) == frozenset()


def test_alerts_that_nobody_hears_for_long_are_trouble_until_somebody_does(
    mosquitto: Mosquitto, outbox: Outbox, delivery: Delivery
) -> None:
    watch = TroubleWatch(Room().analysis, outbox, delivery)
    delivery.start()
    outbox.append([alert(0)], now=moment())
    delivery.deliver()
    wait_until(lambda: delivery.stats().unheard, what="the broker tells that nobody is subscribed")
    assert watch.look(0.0) == frozenset()
    assert watch.look(UNHEARD_SECONDS) == {DeviceTrouble.DELIVERY}
    with Observer(mosquitto.config(), "vire/hall/#") as observer:
        observer.wait_subscribed(PATIENCE_SECONDS)
        outbox.append([alert(1)], now=moment())
        delivery.deliver()
        assert arrived(observer, 2) == [0, 1]
    wait_until(lambda: not delivery.stats().unheard, what="both are delivered")
    assert watch.look(UNHEARD_SECONDS + 1.0) == frozenset()


def test_faces_that_cannot_be_judged_are_trouble(outbox: Outbox, delivery: Delivery) -> None:
    room = Room()
    watch = TroubleWatch(room.analysis, outbox, delivery)
    room.look(5)
    assert watch.look(0.0) == frozenset()
    room.classifiers[0].broken = True
    room.look(5)
    assert watch.look(1.0) == {DeviceTrouble.MODEL}
