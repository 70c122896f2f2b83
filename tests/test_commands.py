"""Commands: carried out once, answered, refused where they must be; and a pause that outlives a restart."""

from __future__ import annotations

import json
import re
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import SimpleQueue

import pytest
from brokers import PATIENCE_SECONDS, Mosquitto, wait_until
from daemons import DEVICE, Daemon, Listener
from fault_table import FaultRow
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from paho.mqtt.client import MQTTMessage

from vire_edge.alerts import AlertEngine
from vire_edge.camera import Camera, SyntheticSource
from vire_edge.camera.script import DEMO_SCRIPT
from vire_edge.camera.source import Capture
from vire_edge.config import CameraConfig, Config, MqttConfig
from vire_edge.daemon.commands import PAUSE_KEY, Commands
from vire_edge.daemon.frame_rates import FrameRates
from vire_edge.daemon.health import HealthReporter
from vire_edge.daemon.supervision import Supervisor
from vire_edge.daemon.transactions import MAX_REMEMBERED, TRANSACTIONS_KEY
from vire_edge.domain import CameraStatus, Instant, Message
from vire_edge.messages import COMMANDS, MAX_COMMAND_BYTES, Messages, ResponsePayload, Topics
from vire_edge.mqtt import CommandReceived, ConnectionStats, ConnectionStatus, MqttEvent
from vire_edge.mqtt.allowance import AT_ONCE, REFUSALS, Admission, Allowance
from vire_edge.mqtt.inbox import Inbox
from vire_edge.mqtt.observer import Observer
from vire_edge.outbox import Outbox

TOPICS = Topics("vire", DEVICE)
START = Instant(1000.0, datetime(2026, 6, 1, 12, tzinfo=UTC))
ACTOR = CameraConfig(name="room", source="synthetic", loop=True)
HOUR = 3600.0


def later(seconds: float, start: Instant = START) -> Instant:
    return Instant(start.monotonic + seconds, start.utc + timedelta(seconds=seconds))


@dataclass(frozen=True)
class Note:
    value: str
    elapsed_seconds: float


@dataclass
class Notebook:
    """A memory that tells how long ago it was told: by the clock that runs on, or after a reboot by the wall's."""

    notes: dict[str, tuple[str, Instant]] = field(default_factory=dict)
    rebooted: bool = False

    def remember(self, key: str, value: str, *, now: Instant) -> None:
        self.notes[key] = value, now

    def recall(self, key: str, *, now: Instant) -> Note | None:
        if key not in self.notes:
            return None
        value, at = self.notes[key]
        elapsed = (now.utc - at.utc).total_seconds() if self.rebooted else now.monotonic - at.monotonic
        return Note(value, max(0.0, elapsed))


class Nobody:
    """A way to the broker that leads nowhere."""

    def __init__(self) -> None:
        self.events: SimpleQueue[MqttEvent] = SimpleQueue()

    def start(self) -> None:
        pass

    def stop(self, final: Message | None, *, timeout_seconds: float) -> bool:
        return final is None and timeout_seconds > 0

    def publish(self, message: Message, *, correlation_data: bytes | None = None) -> None:
        pass

    def deliver(self) -> None:
        pass

    def stats(self) -> ConnectionStats:
        return ConnectionStats(
            status=ConnectionStatus.UNREACHABLE,
            version=None,
            last_error="",
            queued=0,
            delivered=0,
            unheard=0,
            reconnects=0,
            ignored_commands=0,
        )


class Desk:
    """Commands with a real camera, real rules and a real health report."""

    def __init__(self, notebook: Notebook | None = None, camera: Camera | None = None) -> None:
        self.notebook = notebook or Notebook()
        self.camera = camera or Camera(ACTOR, wake=threading.Event())
        health = HealthReporter(
            device_id=DEVICE,
            cameras=[self.camera],
            publisher=Nobody(),
            outbox=Outbox.open(None, 10, START),
            supervisor=Supervisor([]),
            rates=FrameRates([self.camera], Config(cameras=[ACTOR])),
            interval_seconds=30.0,
            model="test",
            started=START,
        )
        engine = AlertEngine([alert.to_rule() for alert in Config().alerts], ["room"])
        self.commands = Commands([self.camera], engine, health, Messages(TOPICS), memory=self.notebook)

    def ask(self, verb: str, now: Instant = START, **arguments: object) -> ResponsePayload:
        answer = self.commands.answer(CommandReceived(verb, json.dumps(arguments).encode(), retained=False), now)
        assert answer is not None
        assert answer.topic == TOPICS.response(verb)
        return ResponsePayload.model_validate_json(answer.payload)

    @property
    def closed(self) -> bool:
        return self.camera.state.status is CameraStatus.DISABLED


@pytest.fixture
def desk() -> Desk:
    return Desk()


# --- refused: retained, replayed, too late, too fast ------------------------------------------


@pytest.mark.parametrize("payload", [b"", b" \n"])
@pytest.mark.parametrize("verb", COMMANDS)
def test_an_empty_payload_which_deletes_a_kept_command_is_none(desk: Desk, verb: str, payload: bytes) -> None:
    answer = desk.commands.answer(CommandReceived(verb, payload, retained=False), START)
    assert answer is not None
    assert "is no JSON; send an object such as {" in str(json.loads(answer.payload)["error"])
    assert not desk.commands.paused_until


def test_a_retained_command_is_neither_carried_out_nor_answered(desk: Desk) -> None:
    assert desk.commands.answer(CommandReceived("pause", b"{}", retained=True), START) is None
    assert not desk.closed


def test_a_transaction_is_carried_out_once(desk: Desk) -> None:
    assert desk.ask("pause", transaction="a", minutes=5).ok
    assert desk.ask("resume", transaction="b").ok
    replayed = desk.ask("pause", later(1), transaction="a", minutes=5)
    assert (replayed.ok, replayed.transaction) == (False, "a")
    assert replayed.error == "this transaction was carried out already; a new command needs a transaction of its own"
    assert not desk.closed
    assert desk.ask("status", transaction="c").ok
    assert not desk.ask("status", transaction="c").ok
    assert desk.ask("pause", later(2)).ok
    assert desk.ask("pause", later(2)).ok, "without a transaction nothing can be known again"


def test_a_transaction_that_was_refused_may_be_sent_again_rightly(desk: Desk) -> None:
    assert not desk.ask("pause", transaction="a", minutes=-1).ok
    assert not desk.ask("acknowledge", transaction="a", alert_id="none").ok
    assert desk.ask("pause", transaction="a", minutes=1).ok


def test_the_last_transactions_survive_a_restart_and_questions_do_not_push_them_out(desk: Desk) -> None:
    for number in range(MAX_REMEMBERED + 1):
        assert desk.ask("resume", transaction=f"change {number}").ok
    for number in range(2 * MAX_REMEMBERED):
        assert desk.ask("status", transaction=f"question {number}").ok
    again = Desk(desk.notebook)
    again.commands.restore(later(60))
    for restarted in (desk, again):
        assert restarted.ask("resume", transaction="change 0").ok, "one more than are remembered"
        for number in range(2, MAX_REMEMBERED + 1):
            assert not restarted.ask("resume", transaction=f"change {number}").ok


def test_a_command_that_says_when_it_was_sent_is_refused_a_minute_later_or_earlier(desk: Desk) -> None:
    for seconds, taken in ((-61, False), (-59, True), (0, True), (59, True), (61, False), (-86_400, False)):
        sent_at = later(seconds).utc.isoformat()
        assert desk.ask("status", sent_at=sent_at).ok is taken, seconds
    late = desk.ask("pause", sent_at="2026-06-01T13:58:00+02:00", transaction="t")
    assert late.error == (
        "sent_at is more than 60 s from this device's clock, 2026-06-01T12:00:00.000Z; "
        "set the clock that is wrong, or leave sent_at out"
    )
    assert late.transaction == "t"
    for extreme in ("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"):
        assert not desk.ask("pause", sent_at=extreme).ok
    assert not desk.closed


def test_a_command_that_came_too_fast_is_told_so(desk: Desk) -> None:
    flood = CommandReceived("pause", b'{"transaction": "t"}', retained=False, too_fast=True)
    answer = desk.commands.answer(flood, START)
    assert answer is not None
    told = ResponsePayload.model_validate_json(answer.payload)
    assert (told.ok, told.transaction) == (False, "t")
    assert told.error == "too many commands: 10 of one kind are taken at once and then one a second; send fewer"
    assert not desk.closed


def test_ten_at_once_then_one_a_second_and_a_flood_is_told_three_times() -> None:
    allowance = Allowance()
    admissions = [allowance.admit(5.0) for _ in range(1000)]
    assert admissions[:AT_ONCE] == [Admission.ADMIT] * AT_ONCE
    assert admissions[AT_ONCE : AT_ONCE + REFUSALS] == [Admission.REFUSE] * REFUSALS
    assert set(admissions[AT_ONCE + REFUSALS :]) == {Admission.IGNORE}
    assert [allowance.admit(6.0) for _ in range(5)] == [Admission.ADMIT] + [Admission.REFUSE] * 3 + [Admission.IGNORE]
    assert [allowance.admit(1006.0) for _ in range(AT_ONCE + 1)].count(Admission.ADMIT) == AT_ONCE


@given(st.lists(st.floats(0, 10), max_size=200))
def test_no_pattern_gets_more_than_its_allowance(pauses: list[float]) -> None:
    allowance, now, admitted = Allowance(), 0.0, 0
    for pause in pauses:
        now += pause
        admitted += allowance.admit(now) is Admission.ADMIT
        assert admitted <= AT_ONCE + now + 1e-6


# --- a pause ----------------------------------------------------------------------------------


def test_a_pause_goes_on_after_a_restart_and_ends_by_itself(desk: Desk) -> None:
    desk.ask("pause", minutes=30)
    again = Desk(desk.notebook)
    again.commands.restore(later(600))
    assert again.closed
    assert again.commands.paused_until == later(1800).utc
    again.commands.end_pause_when_due(later(1799))
    assert again.closed
    again.commands.end_pause_when_due(later(1800))
    assert not again.closed
    assert again.commands.paused_until is None
    once_more = Desk(desk.notebook)
    once_more.commands.restore(later(1801))
    assert not once_more.closed


@pytest.mark.parametrize("end", ["resume", "time", "never begun"])
def test_what_is_over_is_not_restored(desk: Desk, end: str) -> None:
    if end != "never begun":
        desk.ask("pause", minutes=30)
    if end == "resume":
        desk.ask("resume", later(10))
    again = Desk(desk.notebook)
    again.commands.restore(later(2000 if end == "time" else 20))
    assert not again.closed
    assert again.commands.paused_until is None


def test_without_a_clock_chip_a_pause_ends_at_the_latest_after_what_was_left_of_it(desk: Desk) -> None:
    """Each boot begins at the same hour of 1970, for all that the device knows."""
    desk.ask("pause", minutes=60)
    for minute in range(1, 41):
        desk.commands.end_pause_when_due(later(60.0 * minute))
    desk.notebook.rebooted = True
    booted = Instant(10.0, datetime(1970, 1, 1, tzinfo=UTC))
    again = Desk(desk.notebook)
    again.commands.restore(booted)
    assert again.closed
    again.commands.end_pause_when_due(later(19 * 60.0, booted))
    assert again.closed
    # And once more: what is left is counted down over any number of boots.
    last = Desk(again.notebook)
    last.commands.restore(booted)
    last.commands.end_pause_when_due(later(2 * 60.0, booted))
    assert not last.closed


def test_a_clock_that_is_set_while_paused_takes_no_more_than_a_minute_off(desk: Desk) -> None:
    """The pause begins in 1970; then the network tells the time, and the device reboots five minutes later."""
    unset = Instant(50.0, datetime(1970, 1, 1, tzinfo=UTC))
    desk.ask("pause", unset, minutes=60)
    told = Instant(unset.monotonic + 60, START.utc)
    desk.commands.end_pause_when_due(told)
    assert desk.commands.paused_until == later(59 * 60, told).utc, "what people are told follows the clock"
    desk.notebook.rebooted = True
    again = Desk(desk.notebook)
    again.commands.restore(Instant(5.0, told.utc + timedelta(minutes=5)))
    assert again.closed
    assert again.commands.paused_until == later(59 * 60, told).utc


def test_a_memory_that_makes_no_sense_is_no_pause_and_no_crash(desk: Desk) -> None:
    for value in ("", "soon", "nan", "-5", "[1]", "null"):
        desk.notebook.remember(PAUSE_KEY, value, now=START)
        desk.notebook.remember(TRANSACTIONS_KEY, value, now=START)
        again = Desk(desk.notebook)
        again.commands.restore(later(1))
        assert not again.closed
    desk.notebook.remember(PAUSE_KEY, "inf", now=START)
    again = Desk(desk.notebook)
    again.commands.restore(later(1))
    assert again.commands.paused_until == later(24 * HOUR).utc, "a day is the most"


class CountingSource:
    """The actor, and how often somebody opened the stage door."""

    live = False

    def __init__(self) -> None:
        self.opened = 0
        self._actor = SyntheticSource(DEMO_SCRIPT, 320, 240, 30)

    def check(self) -> None:
        self._actor.check()

    def open(self) -> Capture:
        self.opened += 1
        return self._actor.open()


@pytest.fixture
def source() -> CountingSource:
    return CountingSource()


@pytest.fixture
def camera(source: CountingSource) -> Iterator[Camera]:
    camera = Camera(ACTOR, wake=threading.Event(), source=source)
    yield camera
    camera.stop(timeout_seconds=5)


def test_after_a_restart_within_a_pause_the_camera_is_not_even_opened(source: CountingSource, camera: Camera) -> None:
    before = Desk()
    before.ask("pause", minutes=30)
    desk = Desk(before.notebook, camera)
    desk.commands.restore(later(5))
    assert (camera.state.status, camera.state.reason) == (CameraStatus.DISABLED, "paused")
    camera.start()
    threading.Event().wait(0.5)  # an actor that may begin does so in milliseconds
    assert (source.opened, camera.frames_captured, camera.take()) == (0, 0, None)
    desk.ask("resume", later(10))
    wait_until(lambda: camera.frames_captured, what="the first frame after the pause")
    assert source.opened == 1


def test_a_pause_shows_on_every_topic_outlives_a_kill_and_ends_by_itself(tmp_path: Path, mosquitto: Mosquitto) -> None:
    source = {"name": "room", "source": "synthetic", "loop": True}
    daemon_settings = {
        "mqtt__host": "127.0.0.1",
        "mqtt__port": str(mosquitto.port),
        "health__interval_seconds": "1",
        "cameras": [source],
    }
    topics = ("availability", "state/room", "camera/room", "alerts/active", "health")
    with Listener(mosquitto.config()) as listener:
        with Daemon(tmp_path, daemon_settings) as daemon:
            listener.wait_for("state/room", lambda state: state["people"])
            listener.ask("pause", minutes=10, transaction="once")
            until = listener.wait_for("response/pause")["result"]["until"]
            listener.wait_for("health", lambda health: health["paused_until"] == until)
            told = {topic: payload for topic, payload, _ in listener.received}
            assert {topic: told[topic]["paused_until"] for topic in topics} == dict.fromkeys(topics, until)
            assert (told["state/room"]["people"], told["camera/room"]["status"]) == ([], "disabled")
            daemon.send(signal.SIGKILL)
            daemon.wait()
        listener.wait_for("availability", lambda payload: payload["status"] == "offline")
        listener.received.clear()
        with Daemon(tmp_path, daemon_settings) as daemon:
            listener.wait_for("availability", lambda payload: payload["status"] == "online")
            again = listener.wait_for("health", lambda health: health["uptime_seconds"] > 2)
            told = {topic: payload for topic, payload, _ in listener.received}
            before, after = datetime.fromisoformat(until), datetime.fromisoformat(again["paused_until"])
            assert abs((after - before).total_seconds()) < 2
            assert {told[topic]["paused_until"] for topic in topics} == {again["paused_until"]}
            assert not any(payload["people"] for topic, payload, _ in listener.received if topic == "state/room")
            assert '"status": "online"' not in daemon.log[daemon.log.rindex('"paused"') :]
            listener.ask("resume", transaction="once")
            assert "carried out already" in listener.wait_for("response/resume")["error"]
            listener.ask("pause", minutes=0.02)
            for topic in ("availability", "alerts/active"):
                listener.wait_for(topic, lambda payload: payload["paused_until"] is None)
            assert listener.wait_for("state/room", lambda state: state["people"])["paused_until"] is None


# --- fuzzed -----------------------------------------------------------------------------------

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**300), 10**300)
    | st.floats()
    | st.text(st.characters(), max_size=80)
    | st.sampled_from(["\0", "\ud800", "a" * 64, "a" * 65, "a" * 129, "2026-06-01T12:00:00Z", "0001-01-01T00:00:00Z"]),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=9), children, max_size=3),
    max_leaves=5,
)
names = st.sampled_from(["transaction", "sent_at", "minutes", "alert_id", "schema", "", "\0", "\ud800"])
objects = st.dictionaries(names, json_values, max_size=4).map(lambda value: json.dumps(value).encode())
valid = st.sampled_from([b"", b"{}", b'{"minutes": 5}', b'{"transaction": "t", "minutes": 1e3}', b'{"alert_id": "x"}'])


def damage(payload: bytes, at: int, replacement: bytes) -> bytes:
    place = at % (len(payload) + 1)
    return payload[:place] + replacement + payload[place + len(replacement) :]


payloads = st.one_of(
    objects,
    st.builds(damage, objects | valid, st.integers(0, 4096), st.binary(max_size=3)),
    # Often a key twice:
    st.builds(lambda first, second: b"{" + first[1:-1] + b"," + second[1:-1] + b"}", objects, objects),
    st.sampled_from(
        [b"[", b'{"a":', b"[[],", b"9", b"-", b'"', b"\\", b"\0", b"\xff", b"NaN,", b"Infinity", b" "]
    ).flatmap(lambda piece: st.integers(1, 2 * MAX_COMMAND_BYTES // len(piece)).map(lambda count: piece * count)),
    st.sampled_from(["minutes", "alert_id", "sent_at", "transaction"]).flatmap(
        lambda name: st.integers(1, MAX_COMMAND_BYTES).map(
            lambda digits: b'{"%s": %s}' % (name.encode(), b"9" * digits)
        )
    ),
    st.binary(max_size=300),
    json_values.map(lambda value: json.dumps(value).encode("utf-16")),
)
known = st.sampled_from(list(COMMANDS))
odd = st.sampled_from(["", "Pause", "status/x", "+", "#", "\0", "x" * 64, "x" * 65])
verbs = st.one_of(known, known, known, odd, st.text(st.characters(exclude_categories=["Cs"]), max_size=70))


@pytest.mark.fault
def test_no_fuzzed_command_does_more_than_be_refused(fault_full: bool, fault_row: FaultRow) -> None:
    """From the packet to the answer; 10,000 of them in full length."""
    desk = Desk()
    clock = START
    outcomes: Counter[str] = Counter()

    @settings(max_examples=10_000 if fault_full else 600, deadline=None, suppress_health_check=list(HealthCheck))
    @given(verbs, payloads, st.sampled_from([False] * 9 + [True]))
    def check(verb: str, payload: bytes, retained: bool) -> None:
        nonlocal clock
        clock = later(1, clock)
        inbox = Inbox(TOPICS.commands, threading.Event())
        packet = MQTTMessage(topic=TOPICS.command(verb).encode())
        packet.payload, packet.retain = payload, retained
        inbox.receive(packet)
        if inbox.events.empty():
            assert len(verb) > 64 or set(verb) & set("+#\0")
            outcomes["ignored"] += 1
            return
        received = inbox.events.get()
        assert isinstance(received, CommandReceived)
        paused_before = desk.commands.paused_until
        answer = desk.commands.answer(received, clock)
        assert (answer is None) is retained
        if answer is None:
            outcomes["retained"] += 1
            return
        told = ResponsePayload.model_validate_json(answer.payload)
        assert len(answer.payload) < MAX_COMMAND_BYTES
        assert (told.error is None) is told.ok
        outcomes["carried out" if told.ok else "refused"] += 1
        if told.ok:
            assert verb in COMMANDS
        else:
            assert desk.commands.paused_until == paused_before
            assert re.search("[;:]| must | is missing$", told.error or ""), "a remedy, or what is wrong with which key"

    check()
    result = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    fault_row("fuzzed commands", done=f"{outcomes.total()} from the packet to the answer", result=f"no crash: {result}")


class Answers(Listener):
    """Hears what a device says, and not the nonsense that is said to it."""

    def __init__(self, broker: MqttConfig) -> None:
        self._observer = Observer(broker, *(f"{TOPICS.root}/{topic}/#" for topic in ("response", "state", "camera")))
        self.received = []


@pytest.mark.fault
def test_a_daemon_outlives_a_flood_of_nonsense_and_a_person_is_heard_in_it(
    tmp_path: Path, mosquitto: Mosquitto, fault_full: bool, fault_row: FaultRow
) -> None:
    count = 5000 if fault_full else 700
    source = {"name": "room", "source": "synthetic", "loop": True}
    broker = {"mqtt__host": "127.0.0.1", "mqtt__port": str(mosquitto.port), "health__interval_seconds": "1"}
    nonsense = [b"", b"[" * 4096, b'{"a":' * 800, b'{"a": NaN}', b"\xff" * 100, b"x" * 60_000, b'{"x": 1, "x": 2}']
    with (
        Answers(mosquitto.config()) as listener,
        Daemon(tmp_path, broker | {"cameras": [source]}) as daemon,
        Observer(mosquitto.config(), "none") as flood,
    ):
        listener.wait_for("state/room", lambda state: state["people"])
        flood.wait_subscribed(PATIENCE_SECONDS)
        for number in range(count):
            verb = ["status", "acknowledge", f"nonsense-{number}"][number % 3]
            flood.publish(Message(TOPICS.command(verb), nonsense[number % len(nonsense)]))
        listener.ask("pause", minutes=10, transaction="a person")
        assert listener.wait_for("response/pause", lambda answer: answer["transaction"] == "a person")["ok"] is True
        listener.wait_for("camera/room", lambda camera: camera["status"] == "disabled")
        listener.ask("resume")
        listener.wait_for("state/room", lambda state: state["people"])
        answers = [topic for topic, _, _ in listener.received if topic.startswith("response/")]
        assert 3 * (10 + 3) <= len(answers) < 300
        daemon.send(signal.SIGTERM)
        assert daemon.wait() == 0
    assert "Traceback" not in daemon.log
    assert "command_ignored" in daemon.log
    fault_row(
        "a flood of commands",
        done=f"{count} of nonsense at once to a running daemon, then a pause",
        result=f"{len(answers)} answers, the rest counted; the pause carried out; it watches on",
    )
