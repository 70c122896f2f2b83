"""What waits for the broker: order, expiry, bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vire_edge.domain import Message, Severity
from vire_edge.mqtt.alert_queue import AlertQueue


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
    for text in "abc":
        queue.append(message(text), now=0.0)
    first = queue.after(0, now=0.0)
    assert first is not None
    second = queue.after(first.number, now=0.0)
    assert second is not None
    assert queue.acknowledge(second.number)
    assert waiting(queue) == ["a", "c"]
    assert not queue.acknowledge(second.number)
    assert len(queue) == 2
    assert queue.dropped == 0


def test_a_full_queue_gives_up_the_expired_first() -> None:
    queue = AlertQueue(3)
    queue.append(message("lasting"), now=0.0)
    queue.append(message("short", expiry_seconds=5), now=0.0)
    queue.append(message("long", expiry_seconds=50), now=0.0)
    queue.append(message("new"), now=10.0)
    assert waiting(queue, now=10.0) == ["lasting", "long", "new"]
    queue.append(message("newer"), now=10.0)
    assert waiting(queue, now=10.0) == ["long", "new", "newer"]
    assert queue.dropped == 2


def test_a_full_queue_gives_up_answers_first_and_then_the_mildest_and_oldest_alert() -> None:
    queue = AlertQueue(3)

    def put(text: str, severity: Severity | None) -> None:
        queue.append(Message("vire/hall/alerts", text.encode(), severity=severity), now=0.0)

    put("critical", Severity.CRITICAL)
    put("info", Severity.INFO)
    put("answer", None)
    put("old warning", Severity.WARNING)
    assert waiting(queue) == ["critical", "info", "old warning"]
    put("answer", None)
    assert waiting(queue) == ["critical", "info", "old warning"]
    put("warning", Severity.WARNING)
    put("new critical", Severity.CRITICAL)
    assert waiting(queue) == ["critical", "warning", "new critical"]
    assert queue.dropped == 4


def test_what_has_expired_is_not_sent_and_counts_as_dropped() -> None:
    queue = AlertQueue(10)
    queue.append(message("stale", expiry_seconds=5), now=0.0)
    queue.append(message("fresh", expiry_seconds=60), now=0.0)
    assert waiting(queue, now=5.0) == ["fresh"]
    assert (len(queue), queue.dropped) == (1, 1)


def test_giving_up_counts_once() -> None:
    queue = AlertQueue(10)
    queue.append(message("x"), now=0.0)
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
            queue.append(message(f"{appended:03}"), now=0.0)
        elif (queued := queue.after(0, now=0.0)) is not None:
            acknowledged += queue.acknowledge(queued.number)
    texts = waiting(queue)
    assert texts == sorted(texts)
    assert len(texts) == len(queue) <= capacity
    assert appended == acknowledged + queue.dropped + len(queue)
