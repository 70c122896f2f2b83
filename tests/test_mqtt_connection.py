"""The daemon's connection against a real Mosquitto: delivery, last will, reconnects, refusals."""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from brokers import PATIENCE_SECONDS, Certificates, Mosquitto, MosquittoFactory, Wire, free_port, wait_until
from devices import Device, WatchedWire
from structlog.testing import capture_logs

from vire_edge.alert_queue import AlertQueue
from vire_edge.config import MqttConfig
from vire_edge.domain import Instant, Message, Severity
from vire_edge.errors import ConfigError
from vire_edge.messages import MAX_COMMAND_BYTES, Topics
from vire_edge.mqtt import (
    CommandReceived,
    Connected,
    ConnectionStatus,
    MqttConnection,
    MqttEvent,
    MqttVersion,
    RetryPolicy,
)
from vire_edge.mqtt.observer import LinkChanged, Observer, Received
from vire_edge.outbox import Outbox

TOPICS = Topics("vire", "hall")
QUICK = RetryPolicy(
    answer_seconds=2.0,
    first_seconds=0.05,
    limit_seconds=0.2,
    patient_seconds=0.2,
    patient_limit_seconds=0.4,
    stable_seconds=0.5,
)
OFFLINE = Message(TOPICS.availability, b'{"status": "offline"}', retain=True)
ONLINE = Message(TOPICS.availability, b'{"status": "online"}', retain=True)
STOPPED = Message(TOPICS.availability, b'{"status": "stopped"}', retain=True)

Connect = Callable[..., Device]


class RefusingWire(Wire):
    """A wire to an MQTT 5 broker whose answers to messages carry another reason code."""

    code: int | None = None

    def _pass(self, data: bytes, source: socket.socket, sink: socket.socket) -> None:
        if self.code is not None and source not in self._clients:
            data = b"".join(self._with_code(packet) for packet in _short_packets(data))
        super()._pass(data, source, sink)

    def _with_code(self, packet: bytes) -> bytes:
        is_answer = packet[0] == 0x40
        return bytes([0x40, 3, *packet[2:4], self.code or 0]) if is_answer else packet


def _short_packets(data: bytes) -> Iterator[bytes]:
    while data:
        end = 2 + data[1]
        yield data[:end]
        data = data[end:]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """`connect(config)` starts a connection; all are stopped after the test."""
    started: list[Device] = []

    def start(
        config: MqttConfig,
        *,
        policy: RetryPolicy = QUICK,
        client_id: str = "vire-edge-hall",
        alerts: AlertQueue | Outbox | None = None,
        probe_seconds: float = 0.2,
        events: queue.SimpleQueue[MqttEvent] | None = None,
    ) -> Device:
        connection = Device(
            config,
            client_id=client_id,
            command_filter=TOPICS.commands,
            will=lambda: OFFLINE,
            policy=policy,
            alerts=alerts,
            probe_seconds=probe_seconds,
            events=events,
        )
        started.append(connection)
        connection.start()
        return connection

    yield start
    for connection in started:
        connection.stop(None, timeout_seconds=5.0)


def next_event(connection: MqttConnection, timeout_seconds: float = PATIENCE_SECONDS) -> MqttEvent:
    return connection.events.get(timeout=timeout_seconds)


def until_connected(connection: MqttConnection) -> MqttVersion | None:
    """Wait for a connection; what is spoken on it."""
    while next_event(connection) != Connected():
        pass
    return connection.stats().version


def until_disconnected(connection: MqttConnection) -> None:
    wait_until(lambda: not connection.stats().connected, what="the end of the connection")


def alert(number: int) -> Message:
    return Message(TOPICS.alerts, json.dumps({"number": number}).encode(), severity=Severity.WARNING)


def messages(observer: Observer, topic: str, *, count: int) -> list[Received]:
    """The next `count` messages on `topic`."""
    found: list[Received] = []

    def look() -> bool:
        while len(found) < count and (received := observer.receive(0.05)) is not None:
            if isinstance(received, Received) and received.topic == topic:
                found.append(received)
        return len(found) >= count

    wait_until(look, what=f"{count} messages on {topic}")
    return found


def numbers_until(observer: Observer, last: int) -> list[int]:
    """The numbers of all alerts up to the one with the number `last`."""
    numbers: list[int] = []

    def look() -> bool:
        while last not in numbers and (received := observer.receive(0.05)) is not None:
            if isinstance(received, Received) and received.topic == TOPICS.alerts:
                numbers.append(json.loads(received.payload)["number"])
        return last in numbers

    wait_until(look, what=f"alert {last}")
    return numbers


def without_repeats(numbers: list[int]) -> list[int]:
    return list(dict.fromkeys(numbers))


@contextlib.contextmanager
def listener(broker: Mosquitto) -> Iterator[Observer]:
    """A caregiver's app, once it is subscribed."""
    with Observer(broker.config(), "vire/#", policy=QUICK) as watching:
        watching.wait_subscribed(PATIENCE_SECONDS)
        yield watching


@pytest.fixture
def observer(mosquitto: Mosquitto) -> Iterator[Observer]:
    with listener(mosquitto) as watching:
        yield watching


def retained_availability(broker: Mosquitto) -> bytes:
    """What a client learns that comes later."""
    with Observer(broker.config(), TOPICS.availability) as late:
        return messages(late, TOPICS.availability, count=1)[0].payload


def test_states_and_alerts_arrive_over_mqtt_5(mosquitto: Mosquitto, observer: Observer, connect: Connect) -> None:
    connection = connect(mosquitto.config())
    assert next_event(connection) == Connected()
    assert "as vire-edge-hall (p5, c1, " in mosquitto.log  # MQTT 5, and a clean session
    connection.publish(ONLINE)
    connection.alert(alert(1))
    assert messages(observer, TOPICS.availability, count=1)[0].payload == ONLINE.payload
    assert numbers_until(observer, 1) == [1]
    wait_until(lambda: connection.stats().delivered == 1, what="the acknowledgement")
    stats = connection.stats()
    assert stats.connected
    assert (stats.version, stats.queued, stats.unheard) == (MqttVersion.V5, 0, 0)
    assert connection.alerts.dropped == 0
    assert retained_availability(mosquitto) == ONLINE.payload


def test_a_clean_stop_delivers_what_waits_and_keeps_the_last_will_back(
    mosquitto: Mosquitto, observer: Observer, connect: Connect
) -> None:
    connection = connect(mosquitto.config())
    until_connected(connection)
    for number in range(200):
        connection.alert(alert(number))
    assert connection.stop(STOPPED, timeout_seconds=10.0)
    assert not connection.alive
    assert numbers_until(observer, 199) == list(range(200))
    assert messages(observer, TOPICS.availability, count=1)[0].payload == STOPPED.payload
    assert retained_availability(mosquitto) == STOPPED.payload
    assert connection.stats().status is ConnectionStatus.STOPPED


def test_a_connection_that_breaks_without_a_word_publishes_the_last_will(
    mosquitto: Mosquitto, observer: Observer, connect: Connect
) -> None:
    wire = Wire(mosquitto.port)
    connection = connect(MqttConfig(host="127.0.0.1", port=wire.port))
    until_connected(connection)
    connection.publish(ONLINE)
    messages(observer, TOPICS.availability, count=1)
    wire.close()
    assert messages(observer, TOPICS.availability, count=1)[0].payload == OFFLINE.payload
    until_disconnected(connection)
    assert f"127.0.0.1:{wire.port}" in connection.stats().last_error
    connection.stop(None, timeout_seconds=2.0)


def test_an_end_without_a_final_message_leaves_the_last_will(mosquitto: Mosquitto, connect: Connect) -> None:
    connection = connect(mosquitto.config())
    until_connected(connection)
    connection.publish(ONLINE)
    wait_until(lambda: retained_availability(mosquitto) == ONLINE.payload, what="online")
    connection.stop(None, timeout_seconds=5.0)
    wait_until(lambda: retained_availability(mosquitto) == OFFLINE.payload, what="offline")


def test_a_broker_that_is_down_at_the_start_is_waited_for(start_mosquitto: MosquittoFactory, connect: Connect) -> None:
    port = free_port()
    with capture_logs() as lines:
        connection = connect(MqttConfig(host="127.0.0.1", port=port))
        connection.alert(alert(1))
        connection.publish(ONLINE)
        wait_until(lambda: connection.stats().status is ConnectionStatus.UNREACHABLE, what="the refusal")
        assert connection.stats().last_error == (
            f"no broker listens on 127.0.0.1:{port}; start it, or correct mqtt.host and mqtt.port"
        )
        broker = start_mosquitto(port=port)
        with Observer(broker.config(), "vire/#") as observer:
            observer.wait_subscribed(PATIENCE_SECONDS)
            until_connected(connection)
            wait_until(lambda: connection.stats().delivered == 1, what="the alert")
        assert retained_availability(broker) == ONLINE.payload
    # Several attempts were made, one line tells of them.
    assert [line["event"] for line in lines if line["event"].startswith("broker_")] == [
        "broker_unavailable",
        "broker_connected",
    ]


def test_alerts_outlive_a_broker_that_restarts(mosquitto: Mosquitto, observer: Observer, connect: Connect) -> None:
    connection = connect(mosquitto.config())
    until_connected(connection)
    connection.alert(alert(0))
    wait_until(lambda: connection.stats().delivered == 1, what="the first alert")
    mosquitto.kill()
    for number in range(1, 301):
        connection.alert(alert(number))
    until_disconnected(connection)
    assert connection.stats().queued == 300
    mosquitto.start()
    until_connected(connection)
    connection.alert(alert(301))
    # Whoever is back first, the caregiver or the device: nothing is missing or out of order.
    assert without_repeats(numbers_until(observer, 301)) == list(range(302))
    wait_until(lambda: connection.stats().queued == 0, what="every acknowledgement")
    assert connection.stats().delivered == 302
    assert connection.stats().reconnects == 1
    assert connection.alerts.dropped == 0


def test_alerts_in_flight_when_the_wire_breaks_are_sent_again_in_order(
    mosquitto: Mosquitto, observer: Observer, connect: Connect
) -> None:
    wire = WatchedWire(mosquitto.port)
    connection = connect(MqttConfig(host="127.0.0.1", port=wire.port))
    until_connected(connection)
    connection.alert(alert(0))
    for burst in range(5):
        wait_until(lambda: connection.stats().queued == 0, what="an answer that shows that somebody listens")
        wire.sent.clear()
        wire.loses = True
        for number in range(burst * 20 + 1, burst * 20 + 21):
            connection.alert(alert(number))
        wait_until(lambda: wire.count(TOPICS.alerts) == 10, what="a full window")
        assert connection.stats().queued == 20
        wire.cut()
        wire.loses = False
        until_connected(connection)
    assert without_repeats(numbers_until(observer, 100)) == list(range(101))
    connection.stop(STOPPED, timeout_seconds=5.0)
    wire.close()


@pytest.mark.usefixtures("observer")
def test_at_most_ten_messages_are_unacknowledged(mosquitto: Mosquitto, connect: Connect) -> None:
    wire = WatchedWire(mosquitto.port)
    connection = connect(MqttConfig(host="127.0.0.1", port=wire.port))
    until_connected(connection)
    connection.alert(alert(100))
    wait_until(lambda: connection.stats().delivered == 1, what="an answer that shows that somebody listens")
    mosquitto.freeze()
    wire.sent.clear()
    for number in range(100):
        connection.alert(alert(number))
        connection.publish(Message(f"vire/hall/state/camera-{number}", b"{}", retain=True))
    wait_until(lambda: wire.count("vire/hall/") == 10, what="a full window")
    threading.Event().wait(0.3)
    assert wire.count("vire/hall/") == 10
    mosquitto.thaw()
    wait_until(lambda: wire.count("vire/hall/") == 200 and connection.stats().queued == 0, what="the queue to drain")
    connection.stop(STOPPED, timeout_seconds=5.0)
    wire.close()


def test_messages_arrive_in_the_order_in_which_they_were_published(
    mosquitto: Mosquitto, observer: Observer, connect: Connect
) -> None:
    connection = connect(mosquitto.config())
    until_connected(connection)
    for burst in range(10):
        published = []
        for number in range(5):
            published += [alert(number), Message(TOPICS.state(f"{burst}-{number}"), b"{}", retain=True)]
        for message in published:
            (connection.publish if message.retain else connection.alert)(message)
        arrived: list[str] = []

        def look(arrived: list[str] = arrived) -> bool:
            received = observer.receive(0.05)
            if isinstance(received, Received):
                arrived.append(received.topic)
            return len(arrived) == 10

        wait_until(look, what="ten messages")
        assert arrived == [message.topic for message in published]


def test_a_backlog_of_alerts_does_not_hide_the_birth(
    mosquitto: Mosquitto, observer: Observer, connect: Connect
) -> None:
    connection = connect(mosquitto.config())
    until_connected(connection)
    mosquitto.freeze()
    for number in range(300):
        connection.alert(alert(number))
    connection.publish(ONLINE)
    mosquitto.thaw()
    before = 0
    while (received := observer.receive(PATIENCE_SECONDS)) is not None:
        if isinstance(received, Received) and received.topic == TOPICS.availability:
            break
        before += 1
    assert received is not None
    assert before < 30


def test_a_window_of_the_broker_s_own_is_respected(start_mosquitto: MosquittoFactory, connect: Connect) -> None:
    broker = start_mosquitto("allow_anonymous true", "max_inflight_messages 3")
    wire = WatchedWire(broker.port)
    connection = connect(MqttConfig(host="127.0.0.1", port=wire.port))
    until_connected(connection)
    with listener(broker):
        connection.alert(alert(0))
        wait_until(lambda: connection.stats().delivered == 1, what="an answer that shows that somebody listens")
        broker.freeze()
        wire.sent.clear()
        for number in range(1, 31):
            connection.alert(alert(number))
        wait_until(lambda: wire.count(TOPICS.alerts) == 3, what="a full window")
        threading.Event().wait(0.3)
        assert wire.count(TOPICS.alerts) == 3
        broker.thaw()
        wait_until(lambda: connection.stats().delivered == 31, what="the queue to drain")
    connection.stop(STOPPED, timeout_seconds=5.0)
    wire.close()


def test_a_message_larger_than_the_broker_takes_holds_up_nothing(
    start_mosquitto: MosquittoFactory, connect: Connect
) -> None:
    broker = start_mosquitto("allow_anonymous true", "max_packet_size 2000")
    connection = connect(broker.config())
    until_connected(connection)
    with listener(broker):
        connection.alert(Message(TOPICS.alerts, b"x" * 3000, severity=Severity.WARNING))
        connection.alert(alert(1))
        wait_until(lambda: connection.stats().delivered == 1, what="the alert behind it")
    assert connection.alerts.dropped == 1
    assert connection.stats().reconnects == 0
    assert "it takes 2000" in connection.stats().last_error


def test_a_full_queue_gives_up_the_expired_and_then_the_oldest(mosquitto: Mosquitto, connect: Connect) -> None:
    port = mosquitto.port
    mosquitto.stop()
    connection = connect(MqttConfig(host="127.0.0.1", port=port, max_queued_alerts=10))
    with capture_logs() as lines:
        for number in range(15):
            connection.alert(alert(number))
    assert [line["event"] for line in lines if line["event"] == "alert_queue_full"] == ["alert_queue_full"]
    assert (connection.stats().queued, connection.alerts.dropped) == (10, 5)
    mosquitto.start()
    with Observer(mosquitto.config(), TOPICS.alerts) as observer:
        observer.wait_subscribed(PATIENCE_SECONDS)
        until_connected(connection)
        wait_until(lambda: connection.stats().delivered == 10, what="the ten that were kept")


def test_what_nobody_hears_is_kept_for_whoever_comes_later(mosquitto: Mosquitto, connect: Connect) -> None:
    connection = connect(mosquitto.config())
    until_connected(connection)
    connection.publish(ONLINE)
    for number in range(30):
        connection.alert(alert(number))
    wait_until(lambda: connection.stats().unheard == 30, what="the broker to say that nobody is there")
    # States do not wait for a listener.
    wait_until(lambda: retained_availability(mosquitto) == ONLINE.payload, what="online")
    with listener(mosquitto) as observer:
        assert numbers_until(observer, 29) == list(range(30))
        wait_until(lambda: connection.stats().delivered == 30, what="every acknowledgement")
    stats = connection.stats()
    assert (stats.queued, stats.unheard, connection.alerts.dropped) == (0, 0, 0)


def test_a_new_alert_asks_at_once_whether_somebody_has_come(mosquitto: Mosquitto, connect: Connect) -> None:
    connection = connect(mosquitto.config(), probe_seconds=3600.0)
    connection.alert(alert(1))
    wait_until(lambda: connection.stats().unheard == 1, what="the broker to say that nobody is there")
    with listener(mosquitto) as observer:
        connection.alert(alert(2))
        assert numbers_until(observer, 2) == [1, 2]


def test_without_news_the_oldest_alert_asks_alone_and_seldom(mosquitto: Mosquitto, connect: Connect) -> None:
    wire = WatchedWire(mosquitto.port)
    connection = connect(MqttConfig(host="127.0.0.1", port=wire.port), probe_seconds=0.5)
    until_connected(connection)
    for number in range(5):
        connection.alert(alert(number))
    wait_until(lambda: connection.stats().unheard == 5, what="the broker to say that nobody is there")
    before = mosquitto.log.count(f"'{TOPICS.alerts}'")
    wait_until(lambda: mosquitto.log.count(f"'{TOPICS.alerts}'") >= before + 3, what="further attempts")
    payload_bytes = len(alert(0).payload)
    assert f"'{TOPICS.alerts}', ... ({payload_bytes} bytes)" in mosquitto.log
    assert wire.sent.count(alert(0).payload) == wire.count(TOPICS.alerts)
    assert connection.stats().delivered == 0
    connection.stop(None, timeout_seconds=5.0)
    wire.close()


def test_answers_and_states_pass_alerts_that_nobody_hears(mosquitto: Mosquitto, connect: Connect) -> None:
    connection = connect(mosquitto.config(), probe_seconds=3600.0)
    for number in range(100):
        connection.alert(alert(number))
    wait_until(lambda: connection.stats().unheard == 100, what="the broker to say that nobody is there")
    topic = TOPICS.response("status")
    with Observer(mosquitto.config(), topic, policy=QUICK) as app:
        app.wait_subscribed(PATIENCE_SECONDS)
        connection.publish(Message(topic, b"answer"))
        assert messages(app, topic, count=1)[0].payload == b"answer"
    connection.publish(ONLINE)
    wait_until(lambda: retained_availability(mosquitto) == ONLINE.payload, what="online")
    assert (connection.stats().delivered, connection.stats().unheard) == (0, 100)


def test_alerts_that_may_not_pass_are_tried_again(
    start_mosquitto: MosquittoFactory, tmp_path: Path, connect: Connect
) -> None:
    rights = tmp_path / "rights"
    rights.write_text("topic read vire/#\n")
    rights.chmod(0o600)
    broker = start_mosquitto("allow_anonymous true", f"acl_file {rights}")
    connection = connect(broker.config())
    connection.alert(alert(1))
    connection.alert(alert(2))
    wait_until(lambda: connection.stats().last_error, what="the refusal")
    assert connection.stats().last_error.startswith(
        f'the broker does not take messages on "{TOPICS.alerts}" (Not authorized); allow this user to publish there'
    )
    with listener(broker) as observer:
        rights.write_text("topic readwrite vire/#\n")
        broker._signal(signal.SIGHUP)
        assert numbers_until(observer, 2) == [1, 2]
        wait_until(lambda: connection.stats().delivered == 2, what="the acknowledgements")


def test_states_that_may_not_pass_come_as_soon_as_they_may(
    start_mosquitto: MosquittoFactory, tmp_path: Path, connect: Connect
) -> None:
    rights = tmp_path / "rights"
    rights.write_text("topic read vire/#\n")
    rights.chmod(0o600)
    broker = start_mosquitto("allow_anonymous true", f"acl_file {rights}")
    room = TOPICS.state("room")
    with capture_logs() as lines, listener(broker) as observer:
        connection = connect(broker.config())
        connection.publish(Message(room, b"old", retain=True))
        connection.publish(ONLINE)
        connection.publish(Message(room, b"new", retain=True))
        wait_until(lambda: broker.log.count("Denied PUBLISH from vire-edge-hall") >= 8, what="further attempts")
        assert connection.stats().connected
        assert "allow this user to publish there" in connection.stats().last_error
        rights.write_text("topic readwrite vire/#\n")
        broker._signal(signal.SIGHUP)
        arrived: dict[str, bytes] = {}

        def look() -> bool:
            received = observer.receive(0.05)
            if isinstance(received, Received):
                arrived[received.topic] = received.payload
            return len(arrived) == 2

        wait_until(look, what="both states")
        assert arrived == {room: b"new", TOPICS.availability: ONLINE.payload}
        wait_until(lambda: not connection.stats().last_error, what="the refusals to be over")
    # One line for each topic, however often it was refused.
    assert len([line for line in lines if line["event"] == "message_refused"]) == 2


@pytest.mark.parametrize("code", [128, 131, 151])
def test_a_refused_alert_is_tried_again_before_any_that_came_later(
    mosquitto: Mosquitto, connect: Connect, code: int
) -> None:
    wire = RefusingWire(mosquitto.port)
    connection = connect(MqttConfig(host="127.0.0.1", port=wire.port))
    until_connected(connection)
    wire.code = code
    for number in range(3):
        connection.alert(alert(number))
    wait_until(lambda: connection.stats().unheard == 3, what="the refusal")
    with listener(mosquitto) as observer:
        wire.code = None
        assert without_repeats(numbers_until(observer, 2)) == [0, 1, 2]
        wait_until(lambda: connection.stats().delivered == 3, what="the acknowledgements")
    assert (connection.stats().queued, connection.stats().unheard, connection.alerts.dropped) == (0, 0, 0)
    connection.stop(STOPPED, timeout_seconds=5.0)
    wire.close()


@pytest.mark.parametrize("code", [144, 153])
def test_an_alert_that_can_never_pass_holds_up_no_other(mosquitto: Mosquitto, connect: Connect, code: int) -> None:
    alerts = AlertQueue(10)
    wire = RefusingWire(mosquitto.port)
    connection = connect(MqttConfig(host="127.0.0.1", port=wire.port), alerts=alerts, probe_seconds=3600.0)
    until_connected(connection)
    wire.code = code
    connection.alert(alert(0))
    wait_until(lambda: alerts.dropped == 1, what="the refusal")
    wire.code = None
    assert connection.stats().unheard == 0
    with listener(mosquitto) as observer:
        connection.alert(alert(1))
        assert 1 in numbers_until(observer, 1)
        wait_until(lambda: connection.stats().delivered == 1, what="the acknowledgement")
    assert (len(alerts), alerts.dropped) == (0, 1)
    connection.stop(STOPPED, timeout_seconds=5.0)
    wire.close()


def test_a_fresh_connection_takes_over_from_one_that_stands_still(
    mosquitto: Mosquitto, observer: Observer, connect: Connect
) -> None:
    alerts = AlertQueue(1000)
    wire = WatchedWire(mosquitto.port)
    first = connect(MqttConfig(host="127.0.0.1", port=wire.port), alerts=alerts)
    until_connected(first)
    first.alert(alert(0))
    wait_until(lambda: first.stats().delivered == 1, what="the first alert")
    wire.sent.clear()
    wire.loses = True
    for number in range(1, 31):
        first.alert(alert(number))
    wait_until(lambda: wire.count(TOPICS.alerts) == 10, what="a full window")
    assert first.stop(None, timeout_seconds=0.0)
    second = connect(mosquitto.config(), alerts=alerts)
    wait_until(lambda: second.stats().delivered == 30, what="the rest")
    wire.close()
    assert without_repeats(numbers_until(observer, 30)) == list(range(31))
    assert len(alerts) == 0


def test_a_connection_that_is_left_while_it_dials_says_nothing_more(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = MqttConfig(host="127.0.0.1", port=silent.getsockname()[1])
        connection = connect(config, policy=RetryPolicy(answer_seconds=60.0))
        client, _ = silent.accept()
        assert client.recv(1) == b"\x10"
        with capture_logs() as lines:
            connection.stop(None, timeout_seconds=0.0)
            wait_until(lambda: not connection.alive, what="the end of the thread")
        with pytest.raises(queue.Empty):
            connection.events.get_nowait()
        client.close()
    assert "broker_unavailable" not in [line["event"] for line in lines]


def test_progress_shows_while_connected_while_waiting_and_while_dialling(
    mosquitto: Mosquitto, connect: Connect
) -> None:
    def moves(connection: MqttConnection) -> bool:
        before = connection.last_progress
        wait_until(lambda: connection.last_progress > before, what="a step")
        return connection.last_progress <= time.monotonic()

    connected = connect(mosquitto.config())
    until_connected(connected)
    assert moves(connected)
    refused = connect(MqttConfig(host="127.0.0.1", port=free_port()), policy=RetryPolicy(first_seconds=120.0))
    wait_until(lambda: refused.stats().status is ConnectionStatus.UNREACHABLE, what="the refusal")
    assert moves(refused)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = MqttConfig(host="127.0.0.1", port=silent.getsockname()[1])
        dialling = connect(config, policy=RetryPolicy(answer_seconds=60.0))
        client, _ = silent.accept()
        assert moves(dialling)
        client.close()


def test_the_outbox_is_delivered_and_then_empty_on_disk(mosquitto: Mosquitto, tmp_path: Path, connect: Connect) -> None:
    def now() -> Instant:
        return Instant(time.monotonic(), datetime.now(UTC))

    outbox = Outbox.open(tmp_path / "state", 1000, now())
    outbox.append([alert(number) for number in range(30)], now=now())
    with listener(mosquitto) as observer:
        connection = connect(mosquitto.config(), alerts=outbox)
        assert numbers_until(observer, 29) == list(range(30))
        outbox.append([alert(30)], now=now())
        connection.deliver()
        assert numbers_until(observer, 30) == [30]
        wait_until(lambda: connection.stats().delivered == 31, what="every acknowledgement")
    connection.stop(STOPPED, timeout_seconds=5.0)
    outbox.close()
    again = Outbox.open(tmp_path / "state", 1000, now())
    assert len(again) == 0
    again.close()


def test_an_alert_expires_at_the_broker_too(mosquitto: Mosquitto, connect: Connect) -> None:
    away = ["mosquitto_sub", "-p", str(mosquitto.port), "-V", "5", "-i", "phone", "-c", "-x", "600", "-q", "1"]
    subprocess.run([*away, "-t", TOPICS.alerts, "-E"], check=True, timeout=PATIENCE_SECONDS)
    connection = connect(mosquitto.config())
    connection.alert(Message(TOPICS.alerts, b"lasting", expiry_seconds=600, severity=Severity.WARNING))
    wait_until(lambda: connection.stats().delivered == 1, what="the acknowledgement")
    arrived = subprocess.run(
        [*away, "-t", TOPICS.alerts, "-C", "1", "-F", "%E %p"],
        check=True,
        timeout=PATIENCE_SECONDS,
        capture_output=True,
    )
    left, payload = arrived.stdout.split()
    assert payload == b"lasting"
    assert 500 < int(left) <= 600


def test_of_a_state_only_the_newest_is_sent(mosquitto: Mosquitto, observer: Observer, connect: Connect) -> None:
    topic = TOPICS.state("kitchen")
    port = mosquitto.port
    mosquitto.stop()
    connection = connect(MqttConfig(host="127.0.0.1", port=port))
    for number in range(50):
        connection.publish(Message(topic, str(number).encode(), retain=True))
    assert connection.stats().queued == 0
    mosquitto.start()
    until_connected(connection)
    while not isinstance(observer.receive(PATIENCE_SECONDS), LinkChanged):
        continue
    connection.publish(Message(topic, b"last", retain=True))
    wait_until(lambda: messages(observer, topic, count=1)[0].payload == b"last", what="the last state")


def command(broker: Mosquitto, verb: str, payload: str, *options: str) -> None:
    subprocess.run(
        ["mosquitto_pub", "-p", str(broker.port), "-q", "1", "-t", TOPICS.command(verb), "-m", payload, *options],
        check=True,
        timeout=PATIENCE_SECONDS,
    )


def test_commands_come_with_what_their_sender_wants_back(mosquitto: Mosquitto, connect: Connect) -> None:
    connection = connect(mosquitto.config())
    until_connected(connection)
    wait_until(lambda: "Sending SUBACK to vire-edge-hall" in mosquitto.log, what="the subscription")
    command(mosquitto, "pause", '{"minutes": 5}')
    assert next_event(connection) == CommandReceived("pause", b'{"minutes": 5}', retained=False)
    properties = ("-V", "5", "-D", "publish", "response-topic", "app/answers", "-D", "publish", "correlation-data", "7")
    command(mosquitto, "status", "{}", *properties)
    assert next_event(connection) == CommandReceived("status", b"{}", retained=False, correlation_data=b"7")


def test_a_command_that_nobody_has_read_outlives_its_connection(mosquitto: Mosquitto, connect: Connect) -> None:
    first = connect(mosquitto.config())
    until_connected(first)
    wait_until(lambda: "Sending SUBACK to vire-edge-hall" in mosquitto.log, what="the subscription")
    command(mosquitto, "pause", '{"minutes": 5}')
    wait_until(lambda: first.events.qsize() == 1, what="the command")
    first.stop(None, timeout_seconds=0.0)
    second = connect(mosquitto.config(), events=first.events)
    assert next_event(second) == CommandReceived("pause", b'{"minutes": 5}', retained=False)
    until_connected(second)
    wait_until(lambda: mosquitto.log.count("Sending SUBACK to vire-edge-hall") == 2, what="the subscription")
    command(mosquitto, "resume", "{}")
    assert next_event(second) == CommandReceived("resume", b"{}", retained=False)


def test_a_retained_command_is_flagged_both_live_and_after_a_reconnect(mosquitto: Mosquitto, connect: Connect) -> None:
    connection = connect(mosquitto.config())
    until_connected(connection)
    wait_until(lambda: "Sending SUBACK to vire-edge-hall" in mosquitto.log, what="the subscription")
    command(mosquitto, "pause", "{}", "-r")
    assert next_event(connection) == CommandReceived("pause", b"{}", retained=True)
    connection.stop(STOPPED, timeout_seconds=5.0)
    again = connect(mosquitto.config())
    until_connected(again)
    assert next_event(again) == CommandReceived("pause", b"{}", retained=True)


def test_a_message_that_is_no_command_is_not_taken_for_one(mosquitto: Mosquitto, connect: Connect) -> None:
    wire = Wire(mosquitto.port)
    connection = connect(MqttConfig(host="127.0.0.1", port=wire.port))
    until_connected(connection)
    for topic in (b"vire/hall/availability", b"vire/hall/command/status"):
        wire.say(bytes([0x30, len(topic) + 5, 0, len(topic)]) + topic + b"\x00{}")
    assert next_event(connection) == CommandReceived("status", b"{}", retained=False)
    connection.stop(STOPPED, timeout_seconds=5.0)
    wire.close()


def test_oversized_commands_are_cut_off_and_too_many_are_ignored(mosquitto: Mosquitto, connect: Connect) -> None:
    connection = connect(mosquitto.config())
    until_connected(connection)
    wait_until(lambda: "Sending SUBACK to vire-edge-hall" in mosquitto.log, what="the subscription")
    with capture_logs() as lines:
        command(mosquitto, "v" * 65, "{}")
        command(mosquitto, "w" * 65, "{}")
        wait_until(lambda: connection.stats().ignored_commands == 2, what="the refusals")
    assert [line["event"] for line in lines if line["event"] == "command_ignored"] == ["command_ignored"]
    command(mosquitto, "pause", "x" * (10 * MAX_COMMAND_BYTES))
    assert next_event(connection) == CommandReceived("pause", b"x" * (MAX_COMMAND_BYTES + 1), retained=False)
    with pytest.raises(queue.Empty):
        next_event(connection, 0.1)
    flood = "\n".join("{}" for _ in range(200))
    subprocess.run(
        ["mosquitto_pub", "-p", str(mosquitto.port), "-t", TOPICS.command("status"), "-l"],
        input=flood.encode(),
        check=True,
        timeout=PATIENCE_SECONDS,
    )
    command(mosquitto, "resume", "{}")
    taken: list[MqttEvent] = []
    while (event := next_event(connection)) != CommandReceived("resume", b"{}", retained=False):
        taken.append(event)
    # Ten at once, three that are told so, and a few more for the seconds that it took.
    assert 13 <= len(taken) < 50
    assert taken[:10] == [CommandReceived("status", b"{}", retained=False)] * 10
    assert taken.count(CommandReceived("status", b"{}", retained=False, too_fast=True)) >= 3
    assert connection.stats().ignored_commands == 2 + 200 - len(taken)


def test_an_answer_carries_the_correlation_of_its_command(mosquitto: Mosquitto, connect: Connect) -> None:
    connection = connect(mosquitto.config())
    until_connected(connection)
    topic = TOPICS.response("status")
    with subprocess.Popen(
        ["mosquitto_sub", "-p", str(mosquitto.port), "-V", "5", "-t", topic, "-C", "1", "-F", "%D %p"],
        stdout=subprocess.PIPE,
    ) as listening:
        wait_until(lambda: topic in mosquitto.log, what="the subscription")
        connection.publish(Message(topic, b"{}"), correlation_data=b"7")
        output, _ = listening.communicate(timeout=PATIENCE_SECONDS)
    assert output.split() == [b"7", b"{}"]


def test_a_wrong_password_is_one_line_and_tried_again_slowly(mosquitto_with_login: Mosquitto, connect: Connect) -> None:
    config = mosquitto_with_login.config(username="device", password="wrong")
    with capture_logs() as lines:
        connection = connect(config, policy=RetryPolicy(patient_seconds=0.1, patient_limit_seconds=0.2))
        wait_until(lambda: mosquitto_with_login.log.count("Sending CONNACK") >= 3, what="three attempts")
    stats = connection.stats()
    assert stats.status is ConnectionStatus.LOGIN
    assert stats.last_error == (
        f'127.0.0.1:{mosquitto_with_login.port} refuses the login of "device" (Not authorized); '
        "check mqtt.username and its password"
    )
    assert [line["event"] for line in lines] == ["broker_unavailable"]
    assert "wrong" not in str(lines)
    assert connection.alive


def test_a_login_that_is_missing_is_asked_for(mosquitto_with_login: Mosquitto, connect: Connect) -> None:
    connection = connect(mosquitto_with_login.config())
    wait_until(lambda: connection.stats().status is ConnectionStatus.LOGIN, what="the refusal")
    assert "wants a login" in connection.stats().last_error
    assert "VIRE_EDGE_MQTT__PASSWORD" in connection.stats().last_error


def test_the_right_password_is_accepted(mosquitto_with_login: Mosquitto, connect: Connect) -> None:
    until_connected(connect(mosquitto_with_login.config(username="device", password="correct horse")))


def test_the_default_patience_with_a_refused_login_is_half_a_minute() -> None:
    policy = RetryPolicy()
    assert (policy.first_seconds, policy.limit_seconds, policy.patient_seconds) == (1.0, 8.0, 30.0)


def test_a_second_device_with_the_same_name_is_noticed(mosquitto: Mosquitto, connect: Connect) -> None:
    policy = RetryPolicy(first_seconds=0.05, limit_seconds=0.1)
    with capture_logs() as lines:
        devices = [connect(mosquitto.config(), policy=policy), connect(mosquitto.config(), policy=policy)]
        wait_until(
            lambda: any(device.stats().status is ConnectionStatus.UNSTABLE for device in devices),
            what="the struggle to be noticed",
        )
    reasons = [device.stats().last_error for device in devices]
    assert any('connects as "vire-edge-hall", give each its own device_id' in reason for reason in reasons)
    assert len([line for line in lines if line.get("status") == "unstable"]) == 1


def test_a_broker_that_tells_of_a_take_over_is_believed(mosquitto: Mosquitto, connect: Connect) -> None:
    wire = Wire(mosquitto.port)
    with capture_logs() as lines:
        connection = connect(MqttConfig(host="127.0.0.1", port=wire.port), policy=RetryPolicy())
        until_connected(connection)
        wire.say(bytes([0xE0, 2, 142, 0]))
        wait_until(lambda: connection.stats().status is ConnectionStatus.TAKEN_OVER, what="the DISCONNECT")
    assert connection.stats().last_error == (
        f'another client connected to 127.0.0.1:{wire.port} as "vire-edge-hall"; '
        "give each device its own device_id and run one daemon on each"
    )
    assert [line["event"] for line in lines] == ["broker_connected", "broker_unavailable"]
    wire.close()


def test_a_name_that_does_not_exist_is_named(connect: Connect) -> None:
    connection = connect(MqttConfig(host="broker.invalid"))
    wait_until(lambda: connection.stats().last_error, what="the answer of the resolver")
    assert connection.stats().status is ConnectionStatus.UNREACHABLE
    assert connection.stats().last_error.startswith('mqtt.host "broker.invalid" cannot be resolved (')


@pytest.mark.parametrize("behaviour", ["close", "silence"])
def test_a_broker_without_mqtt_5_is_spoken_to_in_3_1_1(mosquitto: Mosquitto, connect: Connect, behaviour: str) -> None:
    wire = Wire(mosquitto.port, on_mqtt_5=behaviour)
    connection = connect(MqttConfig(host="127.0.0.1", port=wire.port))
    assert until_connected(connection) is MqttVersion.V311
    connection.alert(alert(1))
    wait_until(lambda: connection.stats().delivered == 1, what="the acknowledgement")
    assert wire.connections == 2
    wire.cut()
    # The refusal is remembered: no further attempt with 5 so soon.
    assert until_connected(connection) is MqttVersion.V311
    assert wire.connections == 3
    connection.stop(STOPPED, timeout_seconds=5.0)
    wire.close()


def test_mqtt_5_is_tried_again_after_a_while(mosquitto: Mosquitto, connect: Connect) -> None:
    wire = Wire(mosquitto.port, on_mqtt_5="close")
    connection = connect(
        MqttConfig(host="127.0.0.1", port=wire.port), policy=RetryPolicy(first_seconds=0.05, version_5_again_seconds=0)
    )
    assert until_connected(connection) is MqttVersion.V311
    wire._on_mqtt_5 = "pass"
    wire.cut()
    assert until_connected(connection) is MqttVersion.V5
    connection.stop(STOPPED, timeout_seconds=5.0)
    wire.close()


def test_a_broker_that_was_slow_at_first_is_soon_spoken_to_in_5_and_loses_no_unheard_alert(
    mosquitto: Mosquitto, connect: Connect
) -> None:
    wire = Wire(mosquitto.port)
    mosquitto.freeze()
    policy = RetryPolicy(answer_seconds=2.0, first_seconds=0.05, stable_seconds=0.5, version_5_doubt_seconds=2.0)
    connection = connect(MqttConfig(host="127.0.0.1", port=wire.port), policy=policy)
    wait_until(lambda: wire.connections == 2, what="the second try, with 3.1.1")
    mosquitto.thaw()
    assert until_connected(connection) is MqttVersion.V311
    connection.publish(ONLINE)
    # By itself, with no reconnect that anybody would have to wait for.
    assert until_connected(connection) is MqttVersion.V5
    connection.publish(ONLINE)
    connection.alert(alert(1))
    wait_until(lambda: connection.stats().unheard == 1, what="the broker to say that nobody is there")
    assert (connection.stats().version, connection.stats().delivered) == (MqttVersion.V5, 0)
    wait_until(lambda: retained_availability(mosquitto) == ONLINE.payload, what="online after the last will")
    connection.stop(STOPPED, timeout_seconds=5.0)
    wire.close()


def test_a_broker_without_mqtt_5_that_is_asked_again_keeps_its_connection(
    mosquitto: Mosquitto, observer: Observer, connect: Connect
) -> None:
    wire = Wire(mosquitto.port, on_mqtt_5="silence")
    policy = RetryPolicy(answer_seconds=0.5, stable_seconds=0.2, version_5_doubt_seconds=0.2)
    connection = connect(MqttConfig(host="127.0.0.1", port=wire.port), policy=policy)
    assert until_connected(connection) is MqttVersion.V311
    wait_until(lambda: wire.connections >= 4, what="two further attempts")
    connection.alert(alert(1))
    assert numbers_until(observer, 1) == [1]
    with pytest.raises(queue.Empty):
        connection.events.get_nowait()
    assert (connection.stats().version, connection.stats().reconnects) == (MqttVersion.V311, 0)
    connection.stop(STOPPED, timeout_seconds=5.0)
    wire.close()


@pytest.mark.usefixtures("observer")
def test_a_broker_that_falls_silent_is_left_and_found_again(mosquitto: Mosquitto, connect: Connect) -> None:
    wire = Wire(mosquitto.port)
    # Shorter than a configuration may say, so that the test is.
    config = MqttConfig(host="127.0.0.1", port=wire.port).model_copy(update={"keepalive_seconds": 1})
    connection = connect(config)
    until_connected(connection)
    wire.stall()
    connection.alert(alert(1))
    until_disconnected(connection)
    wire.resume()
    # It has spoken 5 before, so silence is no reason to fall back.
    assert until_connected(connection) is MqttVersion.V5
    wait_until(lambda: connection.stats().delivered == 1, what="the alert")
    connection.stop(STOPPED, timeout_seconds=5.0)
    wire.close()


def test_stopping_without_a_broker_is_quick_and_counts_what_is_lost(connect: Connect) -> None:
    connection = connect(MqttConfig(host="127.0.0.1", port=free_port()), policy=RetryPolicy())
    connection.alert(alert(1))
    wait_until(lambda: connection.stats().status is ConnectionStatus.UNREACHABLE, what="the refusal")
    with capture_logs() as lines:
        assert connection.stop(STOPPED, timeout_seconds=5.0)
    assert [line["count"] for line in lines if line["event"] == "alerts_undelivered"] == [1]


def test_stopping_reaches_a_broker_that_has_just_come_back(mosquitto: Mosquitto, connect: Connect) -> None:
    connection = connect(mosquitto.config(), policy=RetryPolicy(first_seconds=60.0, limit_seconds=60.0))
    until_connected(connection)
    mosquitto.kill()
    until_disconnected(connection)
    answer = Message(TOPICS.response("status"), b"{}")
    connection.publish(answer)
    connection.alert(alert(1))
    mosquitto.start()
    assert connection.stop(STOPPED, timeout_seconds=10.0)
    # The answer went out; the alert was tried, and waits for somebody to subscribe.
    assert (connection.stats().queued, connection.stats().unheard) == (1, 1)
    assert retained_availability(mosquitto) == STOPPED.payload


def test_stopping_with_a_frozen_broker_ends_in_time(mosquitto: Mosquitto, connect: Connect) -> None:
    connection = connect(mosquitto.config())
    until_connected(connection)
    mosquitto.freeze()
    connection.alert(alert(1))
    assert connection.stop(STOPPED, timeout_seconds=1.0)


def test_tls_with_a_known_authority(
    start_mosquitto: MosquittoFactory, certificates: Certificates, connect: Connect
) -> None:
    broker = start_mosquitto(*certificates.listener())
    config = broker.config(host="localhost", tls={"ca_file": certificates.ca})
    with Observer(config, TOPICS.alerts) as observer:
        observer.wait_subscribed(PATIENCE_SECONDS)
        connection = connect(config)
        until_connected(connection)
        for number in range(50):
            connection.alert(alert(number))
        assert numbers_until(observer, 49) == list(range(50))
    wait_until(lambda: connection.stats().delivered == 50, what="the acknowledgements")


def test_tls_with_a_certificate_of_its_own(
    start_mosquitto: MosquittoFactory, certificates: Certificates, connect: Connect
) -> None:
    broker = start_mosquitto(*certificates.listener(require_certificate=True))
    tls = {"ca_file": certificates.ca, "cert_file": certificates.device_cert, "key_file": certificates.device_key}
    until_connected(connect(broker.config(host="localhost", tls=tls)))


@pytest.mark.parametrize(
    "case",
    [
        ({"expired": True}, "localhost", "ca", "has expired; renew it on the broker, or set this device's clock"),
        ({}, "localhost", "other_ca", "is not signed by an authority that this device knows"),
        ({}, "127.0.0.1", "ca", "is for another name; set mqtt.host to the name in it"),
    ],
    ids=["expired", "unknown authority", "another name"],
)
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
def test_trouble_with_certificates_says_what_to_do(
    start_mosquitto: MosquittoFactory,
    certificates: Certificates,
    connect: Connect,
    case: tuple[dict[str, bool], str, str, str],
) -> None:
    listener, host, authority, words = case
    broker = start_mosquitto(*certificates.listener(**listener))
    with capture_logs() as lines:
        connection = connect(broker.config(host=host, tls={"ca_file": getattr(certificates, authority)}))
        wait_until(lambda: connection.stats().last_error, what="the handshake")
    assert words in connection.stats().last_error
    assert connection.stats().status is ConnectionStatus.CERTIFICATE
    assert connection.alive
    assert [line["event"] for line in lines] == ["broker_unavailable"]


@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
def test_a_clock_that_is_set_after_the_start_delays_nothing(
    start_mosquitto: MosquittoFactory, tmp_path: Path, connect: Connect
) -> None:
    authority = trustme.CA()
    valid_from = datetime.now(UTC) + timedelta(seconds=4)
    issued = authority.issue_cert("localhost", not_before=valid_from, not_after=valid_from + timedelta(days=1))
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "broker.pem")
    issued.private_key_pem.write_to_path(tmp_path / "broker.key")
    files = (f"certfile {tmp_path / 'broker.pem'}", f"keyfile {tmp_path / 'broker.key'}")
    broker = start_mosquitto("allow_anonymous true", *files)
    with capture_logs() as lines:
        connection = connect(
            broker.config(host="localhost", tls={"ca_file": tmp_path / "ca.pem"}), policy=RetryPolicy()
        )
        # A patient one would be back no sooner than 24 s after the first refusal.
        until_connected(connection)
    assert [line["event"] for line in lines] == ["broker_unavailable", "broker_connected"]
    assert "is not valid yet; set this device's clock" in lines[0]["reason"]


def test_a_missing_certificate_of_its_own_is_asked_for(
    start_mosquitto: MosquittoFactory, certificates: Certificates, connect: Connect
) -> None:
    broker = start_mosquitto(*certificates.listener(require_certificate=True))
    connection = connect(broker.config(host="localhost", tls={"ca_file": certificates.ca}))
    # The broker's alert may be lost when it hangs up before CONNECT is written; the remedy is given all the same.
    wait_until(lambda: connection.stats().last_error, what="the handshake")
    assert "set mqtt.tls.cert_file and mqtt.tls.key_file" in connection.stats().last_error


@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
def test_tls_towards_a_port_without_it_is_explained(
    mosquitto: Mosquitto, certificates: Certificates, connect: Connect
) -> None:
    connection = connect(mosquitto.config(host="localhost", tls={"ca_file": certificates.ca}))
    wait_until(lambda: connection.stats().last_error, what="the handshake")
    assert "speaks no TLS" in connection.stats().last_error


def test_a_port_with_tls_and_a_connection_without_it_is_explained(
    start_mosquitto: MosquittoFactory, certificates: Certificates, connect: Connect
) -> None:
    broker = start_mosquitto(*certificates.listener())
    connection = connect(broker.config())
    wait_until(lambda: connection.stats().last_error, what="the end of the attempt")
    assert "if it expects TLS, add [mqtt.tls]" in connection.stats().last_error


def test_a_missing_certificate_file_is_an_error_at_the_start(connect: Connect) -> None:
    with pytest.raises(ConfigError, match=r"mqtt.tls.ca_file: /nowhere/ca.pem does not exist; correct the path"):
        connect(MqttConfig.model_validate({"host": "localhost", "tls": {"ca_file": "/nowhere/ca.pem"}}))
