"""What must not be lost between an episode and the broker's acknowledgement: on disk, in order, bounded, in time."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from structlog.testing import capture_logs

from vire_edge.domain import Instant, Message, Severity
from vire_edge.outbox import Outbox, Recalled
from vire_edge.outbox.clock import JUMP_SECONDS

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
HOUR = 3600.0
DAY = 24 * HOUR


def at(monotonic: float, utc: datetime | None = None) -> Instant:
    return Instant(monotonic, NOON + timedelta(seconds=monotonic) if utc is None else utc)


def alert(text: str, severity: Severity = Severity.WARNING, expiry_seconds: int | None = None) -> Message:
    return Message("vire/hall/alerts", text.encode(), expiry_seconds=expiry_seconds, severity=severity)


def waiting(outbox: Outbox, *, now: float = 0.0) -> list[str]:
    texts, number = [], 0
    while (queued := outbox.after(number, now=now)) is not None:
        texts.append(queued.message.payload.decode())
        number = queued.number
    return texts


def numbers(outbox: Outbox) -> list[int]:
    found, number = [], 0
    while (queued := outbox.after(number, now=0.0)) is not None:
        found.append(number := queued.number)
    return found


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keep the log out of a failure's report: there are hundreds of lines from hundreds of restarts."""
    with capture_logs():
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


class Restarts:
    """Opens the outbox of one folder again and again, as a daemon that is started anew."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: Outbox | None = None

    def __call__(self, now: Instant | None = None, *, boot: str = "first", capacity: int = 1000) -> Outbox:
        self.close()
        self._open = Outbox.open(self._folder, capacity, now or at(0.0), boot=boot)
        return self._open

    def close(self) -> None:
        if self._open is not None:
            self._open.close()


@pytest.fixture
def start(folder: Path) -> Iterator[Restarts]:
    restarts = Restarts(folder)
    yield restarts
    restarts.close()


def test_alerts_outlive_a_restart_in_order_and_to_the_byte(start: Restarts) -> None:
    outbox = start()
    messages = [
        Message("vire/hall/alerts", b'{"a": "\xc3\xa4"}\x00', 1, expiry_seconds=60, severity=Severity.INFO),
        Message("vire/hall/alerts", b"", 0, severity=Severity.CRITICAL),
    ]
    outbox.append(messages, now=at(0.0))
    outbox.append([alert("third")], now=at(0.0))
    before = [outbox.after(number, now=0.0) for number in range(3)]
    again = start()
    assert [again.after(number, now=0.0) for number in range(3)] == before
    assert [queued.message for queued in before[:2] if queued is not None] == messages


def test_what_was_acknowledged_does_not_come_back(start: Restarts) -> None:
    outbox = start()
    outbox.append([alert(text) for text in "abcde"], now=at(0.0))
    assert outbox.acknowledge([1, 3, 99]) == 2
    assert waiting(outbox) == ["b", "d", "e"]
    outbox = start()
    assert waiting(outbox) == ["b", "d", "e"]
    assert outbox.acknowledge([1]) == 0


def test_the_acknowledgements_of_one_round_are_one_transaction(start: Restarts) -> None:
    outbox = start()
    outbox.append([alert(str(number)) for number in range(10)], now=at(0.0))
    assert outbox._database is not None
    statements: list[str] = []
    outbox._database._connection.set_trace_callback(statements.append)
    outbox.acknowledge(range(1, 11))
    assert statements.count("COMMIT") == 1
    assert sum(statement.startswith("DELETE") for statement in statements) == 10


def test_nobody_sees_an_alert_before_it_is_on_disk(start: Restarts) -> None:
    outbox = start()
    assert outbox._database is not None
    seen: dict[str, int] = {}
    outbox._database._connection.set_trace_callback(lambda statement: seen.setdefault(statement, len(waiting(outbox))))
    outbox.append([alert("a")], now=at(0.0))
    assert seen["COMMIT"] == 0
    assert waiting(outbox) == ["a"]


def test_numbers_rise_for_ever(start: Restarts) -> None:
    outbox = start()
    outbox.append([alert("a"), alert("b")], now=at(0.0))
    outbox.acknowledge([1, 2])
    outbox = start()
    assert outbox.last_number == 2
    outbox.append([alert("c")], now=at(0.0))
    assert numbers(outbox) == [3]


def test_answers_are_never_written(start: Restarts) -> None:
    outbox = start()
    outbox.append([alert("alert"), Message("vire/hall/response/status", b"answer")], now=at(0.0))
    assert waiting(outbox) == ["alert", "answer"]
    outbox.tend(at(1.0))
    assert waiting(start()) == ["alert"]


def test_what_is_remembered_outlives_a_restart(start: Restarts) -> None:
    outbox = start()
    outbox.append([alert("a")], now=at(10.0), memory={"alerts": '{"open": 1}', "pause": "x"})
    outbox.remember("pause", "y", now=at(20.0))
    for again in (outbox, start(at(30.0))):
        assert again.recall("alerts", now=at(30.0)) == Recalled('{"open": 1}', 20.0)
        assert again.recall("pause", now=at(30.0)) == Recalled("y", 10.0)
        assert again.recall("unknown", now=at(30.0)) is None


def test_memory_alone_needs_no_folder() -> None:
    outbox = Outbox.open(None, 10, at(0.0))
    outbox.append([alert("a")], now=at(0.0), memory={"key": "value"})
    outbox.tend(at(1.0))
    assert waiting(outbox) == ["a"]
    assert outbox.recall("key", now=at(5.0)) == Recalled("value", 5.0)
    assert outbox.trouble == ""
    outbox.close()


# --- time ------------------------------------------------------------------------------------


def test_within_a_boot_the_wall_clock_has_no_say(start: Restarts) -> None:
    start().append([alert("a", expiry_seconds=100)], now=at(0.0))
    for leap in (-DAY, DAY):
        assert waiting(start(at(99.0, NOON + timedelta(seconds=leap))), now=99.0) == ["a"]
    assert waiting(start(at(100.0, NOON - timedelta(days=1))), now=100.0) == []


@pytest.mark.parametrize(
    ("written", "restarted", "left_seconds"),
    [
        (NOON, NOON + timedelta(seconds=30), 60),
        (NOON, NOON, 90),
        (NOON, NOON - timedelta(days=400), 90),
        (NOON, NOON + timedelta(days=400), 0),
        (datetime(1970, 1, 1, tzinfo=UTC), NOON, 90),
        (NOON, datetime(1970, 1, 1, tzinfo=UTC), 90),
    ],
    ids=["half a minute off", "no time off", "clock behind", "long off", "clock never set before", "clock not set yet"],
)
def test_after_a_reboot_the_wall_clocks_tell_how_long_the_device_was_off(
    start: Restarts, written: datetime, restarted: datetime, left_seconds: int
) -> None:
    outbox = start(at(1000.0, written))
    outbox.append([alert("a", expiry_seconds=100)], now=at(1000.0, written), memory={"key": "value"})
    # Ten seconds later, in the same boot, something else is written: that much is certain.
    outbox.remember("later", "", now=at(1010.0, written))
    again = start(at(3.0, restarted), boot="second")
    recalled = again.recall("key", now=at(3.0, restarted))
    assert recalled is not None
    assert recalled.elapsed_seconds >= 10.0
    if left_seconds:
        assert recalled.elapsed_seconds == pytest.approx(100 - left_seconds)
        assert waiting(again, now=3.0 + left_seconds - 0.1) == ["a"]
    assert waiting(again, now=3.0 + left_seconds) == []
    assert again.expired == 1


def test_time_adds_up_over_several_reboots(start: Restarts) -> None:
    start(at(0.0)).append([alert("a", expiry_seconds=100)], now=at(0.0))
    for boot in range(4):
        # 20 s off and 5 s on, four times; each boot counts from 0 again.
        began = NOON + timedelta(seconds=20 + 25 * boot)
        outbox = start(Instant(0.0, began), boot=f"boot {boot}")
        outbox.remember("alive", "", now=Instant(5.0, began + timedelta(seconds=5)))
        assert waiting(outbox, now=4.9) == ["a"]
    assert waiting(outbox, now=5.0) == []


def test_an_unknown_boot_is_no_boot_twice(start: Restarts) -> None:
    start(at(1000.0, NOON), boot="").append([alert("a", expiry_seconds=100)], now=at(1000.0, NOON))
    outbox = start(at(2000.0, NOON + timedelta(seconds=40)), boot="")
    assert waiting(outbox, now=2059.0) == ["a"]
    assert waiting(outbox, now=2060.0) == []


def test_a_clock_that_is_set_after_the_boot_makes_nothing_older(start: Restarts) -> None:
    # Without a clock chip the device wakes at the time at which it fell asleep, here two days ago.
    stale = NOON - timedelta(days=2)
    outbox = start(at(0.0, stale))
    outbox.append([alert("a", expiry_seconds=int(DAY))], now=at(0.0, stale))
    outbox.tend(at(60.0, NOON))
    again = start(at(0.0, NOON + timedelta(seconds=30)), boot="second")
    assert waiting(again, now=DAY - 91.0) == ["a"]
    assert waiting(again, now=DAY - 90.0) == []


def test_only_a_clock_that_was_set_is_written_down_anew(start: Restarts) -> None:
    outbox = start()
    assert outbox._database is not None
    statements: list[str] = []
    outbox._database._connection.set_trace_callback(statements.append)
    outbox.tend(at(10.0, NOON + timedelta(seconds=10 + JUMP_SECONDS - 1)))
    assert statements == []
    outbox.tend(at(11.0, NOON + timedelta(seconds=11 + JUMP_SECONDS + 1)))
    assert statements.count("COMMIT") == 1
    outbox.tend(at(12.0, NOON + timedelta(seconds=12 + JUMP_SECONDS + 1)))
    assert statements.count("COMMIT") == 1


# --- bounds ----------------------------------------------------------------------------------


def test_the_expired_and_the_evicted_leave_the_disk_too(start: Restarts) -> None:
    outbox = start(capacity=3)
    outbox.append([alert("short", expiry_seconds=5), alert("info", Severity.INFO)], now=at(0.0))
    outbox.append([alert("warning"), alert("critical", Severity.CRITICAL)], now=at(0.0))
    assert (outbox.evicted, outbox.expired, outbox.dropped) == (1, 0, 1)
    outbox.tend(at(5.0))
    assert (outbox.evicted, outbox.expired, outbox.dropped) == (1, 1, 2)
    outbox = start(at(5.0), capacity=3)
    assert waiting(outbox, now=5.0) == ["warning", "critical"]
    assert (outbox.evicted, outbox.expired) == (0, 0)


def test_the_evicted_do_not_come_back_after_a_crash(start: Restarts, folder: Path) -> None:
    outbox = start(capacity=2)
    outbox.append([alert("a"), alert("b", expiry_seconds=1)], now=at(0.0))
    outbox.append([alert("c")], now=at(0.0))
    assert waiting(outbox) == ["b", "c"]
    shutil.copytree(folder, torn := folder.with_name("torn"))
    # By then there is room again.
    with closing(Outbox.open(torn, 2, at(1.0), boot="first")) as again:
        assert waiting(again, now=1.0) == ["c"]


def test_a_smaller_bound_after_a_restart_is_kept(start: Restarts) -> None:
    start().append([alert(str(number), Severity(severity)) for number, severity in enumerate(Severity)], now=at(0.0))
    outbox = start(capacity=2)
    assert waiting(outbox) == ["1", "2"]
    outbox.tend(at(1.0))
    assert waiting(start()) == ["1", "2"]


def test_what_cannot_be_delivered_is_forgotten_on_disk(start: Restarts) -> None:
    outbox = start()
    outbox.append([alert("too large"), alert("b")], now=at(0.0))
    outbox.give_up(1)
    outbox.tend(at(1.0))
    assert (outbox.dropped, outbox.evicted, outbox.expired) == (1, 0, 0)
    assert waiting(start()) == ["b"]


# --- threads ---------------------------------------------------------------------------------


def test_reading_does_not_wait_for_the_disk(start: Restarts) -> None:
    outbox = start()
    outbox.append([alert("a")], now=at(0.0))
    with outbox._writing:
        assert waiting(outbox) == ["a"]
        assert (len(outbox), outbox.trouble, outbox.last_number) == (1, "", 1)


def test_two_threads_lose_nothing_and_keep_the_order(start: Restarts) -> None:
    outbox = start()
    seen: list[str] = []
    done = threading.Event()

    def deliver() -> None:
        while not (done.is_set() and len(outbox) == 0):
            taken: list[int] = []
            number = 0
            while len(taken) < 10 and (queued := outbox.after(number, now=0.0)) is not None:
                seen.append(queued.message.payload.decode())
                taken.append(number := queued.number)
            outbox.acknowledge(taken)

    thread = threading.Thread(target=deliver)
    thread.start()
    for number in range(300):
        outbox.append([alert(str(number))], now=at(0.0), memory={"last": str(number)})
        outbox.tend(at(0.0))
    done.set()
    thread.join(60)
    assert not thread.is_alive()
    assert seen == [str(number) for number in range(300)]
    outbox = start()
    assert len(outbox) == 0
    recalled = outbox.recall("last", now=at(0.0))
    assert recalled is not None
    assert recalled.value == "299"


# --- whatever the order of events --------------------------------------------------------------

CAPACITY = 5
QUICK_DISK = Path("/dev/shm")
"""Where there is one, its `fsync` costs nothing; a real disk is what the other tests are for."""


class OutboxMachine(RuleBasedStateMachine):
    """Beside the outbox a list of what it owes; it is torn away at any moment, as SIGKILL does."""

    def __init__(self) -> None:
        super().__init__()
        self._home: Path | None = None
        self._outbox: Outbox | None = None
        self._owed: list[tuple[str, int, float]] = []
        """Text, severity's rank and when it expires."""
        self._now = 0.0
        self._appended = 0
        self._boots = 0
        self._starts = 0
        self._booted_at = 0.0

    @initialize()
    def begin(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="outbox-", dir=QUICK_DISK if QUICK_DISK.is_dir() else None))
        self._restart()

    def teardown(self) -> None:
        if self._outbox is not None:
            self._outbox.close()
        if self._home is not None:
            shutil.rmtree(self._home)

    @rule(severity=st.sampled_from(Severity), expiry_seconds=st.integers(1, 40), count=st.integers(1, 3))
    def append(self, severity: Severity, expiry_seconds: int, count: int) -> None:
        messages = []
        for _ in range(count):
            self._appended += 1
            messages.append(alert(f"{self._appended:04}", severity, expiry_seconds))
        self._box.append(messages, now=self._instant, memory={"last": str(self._appended)})
        for message in messages:
            if len(self._owed) == CAPACITY:
                self._owed = [one for one in self._owed if one[2] > self._now]
            self._owed.append((message.payload.decode(), severity.rank, self._now + expiry_seconds))
            if len(self._owed) > CAPACITY:
                self._owed.remove(min(self._owed, key=lambda one: (one[1], one[0])))

    @rule(first=st.integers(0, CAPACITY), count=st.integers(1, 3))
    def acknowledge(self, first: int, count: int) -> None:
        numbered, number = [], 0
        while (queued := self._box.after(number, now=self._monotonic)) is not None:
            numbered.append(queued)
            number = queued.number
        taken = numbered[first : first + count]
        assert self._box.acknowledge([queued.number for queued in taken]) == len(taken)
        texts = {queued.message.payload.decode() for queued in taken}
        self._owed = [one for one in self._owed if one[0] not in texts]

    @rule(seconds=st.integers(1, 15))
    def wait(self, seconds: int) -> None:
        self._now += seconds

    @rule()
    def tend(self) -> None:
        self._box.tend(self._instant)

    @rule()
    def crash(self) -> None:
        self._restart()

    @rule(off_seconds=st.integers(1, 15))
    def reboot(self, off_seconds: int) -> None:
        self._now += off_seconds
        self._boots += 1
        self._booted_at = self._now
        self._restart()

    @invariant()
    def nothing_is_lost_and_the_order_holds(self) -> None:
        if self._outbox is None:
            return
        owed = [text for text, _, expires_at in self._owed if expires_at > self._now]
        assert waiting(self._box, now=self._monotonic) == owed
        self._owed = [one for one in self._owed if one[2] > self._now]
        recalled = self._box.recall("last", now=self._instant)
        assert (recalled is None) == (self._appended == 0)
        assert recalled is None or recalled.value == str(self._appended)
        assert self._box.trouble == ""

    @property
    def _box(self) -> Outbox:
        assert self._outbox is not None
        return self._outbox

    @property
    def _monotonic(self) -> float:
        return self._now - self._booted_at

    @property
    def _instant(self) -> Instant:
        return Instant(self._monotonic, NOON + timedelta(seconds=self._now))

    def _restart(self) -> None:
        assert self._home is not None
        before, folder = self._home / str(self._starts), self._home / str(self._starts + 1)
        self._starts += 1
        if self._outbox is not None:
            # The files as they are while they are in use: closing them in an orderly way would write them first.
            shutil.copytree(before, folder)
            self._outbox.close()
        self._outbox = Outbox.open(folder, CAPACITY, self._instant, boot=f"boot {self._boots}")


TestWhateverHappens = OutboxMachine.TestCase
TestWhateverHappens.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
