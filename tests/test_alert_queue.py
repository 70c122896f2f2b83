"""What waits for the broker: order, expiry, bounds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from vire_edge.alert_queue import AlertQueue
from vire_edge.domain import Instant, Message, Severity


def at(seconds: float = 0.0) -> Instant:
    return Instant(seconds, datetime(2026, 7, 1, tzinfo=UTC) + timedelta(seconds=seconds))


def message(text: str = "", expiry_seconds: int | None = None) -> Message:
    return Message("vire/hall/alerts", text.encode(), expiry_seconds=expiry_seconds)


def waiting(queue: AlertQueue, *, now: float = 0.0) -> list[str]:
    texts, number = [], 0
    while (queued := queue.after(number, now=now)) is not None:
        texts.append(queued.message.payload.decode())
        number = queued.number
    return texts


def test_messages_stay_in_order_until_they_are_acknowledged() -> None:
    queue = AlertQueue(10)
    queue.append([message("a"), message("b")], now=at())
    queue.append([message("c")], now=at())
    first = queue.after(0, now=0.0)
    assert first is not None
    second = queue.after(first.number, now=0.0)
    assert second is not None
    assert queue.acknowledge([second.number]) == 1
    assert waiting(queue) == ["a", "c"]
    assert queue.acknowledge([second.number]) == 0
    assert queue.acknowledge([1, 2, 3]) == 2
    assert len(queue) == 0
    assert (queue.last_number, queue.dropped) == (3, 0)


def test_numbers_go_on_where_they_are_told_to() -> None:
    queue = AlertQueue(10)
    queue.continue_after(41)
    queue.append([message("a")], now=at())
    queue.continue_after(7)
    queue.append([message("b")], now=at())
    assert [queued.number for queued in queue.waiting] == [42, 43]


def test_what_is_numbered_is_not_queued_yet() -> None:
    queue = AlertQueue(10)
    numbered = queue.number([message("a"), message("b")], now=at())
    assert [queued.number for queued in numbered] == [1, 2]
    assert waiting(queue) == []
    queue.insert(numbered, now=0.0)
    assert waiting(queue) == ["a", "b"]


def test_a_full_queue_gives_up_the_expired_first() -> None:
    queue = AlertQueue(3)
    queue.append([message("lasting")], now=at())
    queue.append([message("short", expiry_seconds=5)], now=at())
    queue.append([message("long", expiry_seconds=50)], now=at())
    queue.append([message("new")], now=at(10.0))
    assert waiting(queue, now=10.0) == ["lasting", "long", "new"]
    assert (queue.expired, queue.evicted) == (1, 0)
    queue.append([message("newer")], now=at(10.0))
    assert waiting(queue, now=10.0) == ["long", "new", "newer"]
    assert (queue.expired, queue.evicted, queue.dropped) == (1, 1, 2)


def test_a_full_queue_gives_up_the_mildest_and_oldest_alert() -> None:
    queue = AlertQueue(3)

    def put(text: str, severity: Severity | None) -> None:
        queue.append([Message("vire/hall/alerts", text.encode(), severity=severity)], now=at())

    put("critical", Severity.CRITICAL)
    put("info", Severity.INFO)
    put("no alert", None)
    put("old warning", Severity.WARNING)
    assert waiting(queue) == ["critical", "info", "old warning"]
    put("no alert", None)
    assert waiting(queue) == ["critical", "info", "old warning"]
    put("warning", Severity.WARNING)
    put("new critical", Severity.CRITICAL)
    assert waiting(queue) == ["critical", "warning", "new critical"]
    assert (queue.evicted, queue.dropped) == (4, 4)


def test_an_overflow_is_one_line_until_the_queue_was_empty() -> None:
    queue = AlertQueue(2)
    with capture_logs() as lines:
        queue.append([message("x")] * 5, now=at())
    assert [line["event"] for line in lines] == ["alert_queue_full"]
    assert queue.acknowledge(queued.number for queued in queue.waiting) == 2
    with capture_logs() as lines:
        queue.append([message("x")] * 5, now=at())
    assert [line["event"] for line in lines] == ["alert_queue_full"]


def test_what_has_expired_is_not_sent_and_counts() -> None:
    queue = AlertQueue(10)
    queue.append([message("stale", expiry_seconds=5), message("fresh", expiry_seconds=60)], now=at())
    assert waiting(queue, now=4.9) == ["stale", "fresh"]
    assert waiting(queue, now=5.0) == ["fresh"]
    assert (len(queue), queue.expired, queue.dropped) == (1, 1, 1)
    queue.expire(now=60.0)
    assert (len(queue), queue.expired, queue.dropped) == (0, 2, 2)


def test_giving_up_counts_once() -> None:
    queue = AlertQueue(10)
    queue.append([message("x")], now=at())
    queue.give_up(1)
    queue.give_up(1)
    assert (len(queue), queue.dropped) == (0, 1)


@given(st.lists(st.sampled_from(["append", "acknowledge"]), max_size=60), st.integers(1, 8))
def test_nothing_vanishes_uncounted(steps: list[str], capacity: int) -> None:
    queue = AlertQueue(capacity)
    appended = acknowledged = 0
    for step in steps:
        if step == "append":
            appended += 1
            queue.append([message(f"{appended:03}")], now=at())
        elif (queued := queue.after(0, now=0.0)) is not None:
            acknowledged += queue.acknowledge([queued.number])
    texts = waiting(queue)
    assert texts == sorted(texts)
    assert len(texts) == len(queue) <= capacity
    assert appended == acknowledged + queue.dropped + len(queue)
