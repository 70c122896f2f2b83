"""A device that is given another name or prefix: what it still has to tell is told under the new one."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from brokers import Mosquitto, MosquittoFactory, wait_until
from daemons import ANYBODY, DEVICE, Daemon, Listener
from structlog.testing import capture_logs

from vire_edge.domain import Instant, Message, Severity
from vire_edge.messages import Messages, Topics
from vire_edge.outbox import Outbox
from vire_edge.outbox.folder import DATABASE

HALL = Messages(Topics("vire", "hall"))
OLD = Message("vire/old/alerts", b'{"schema":1,"device_id":"old","text":"\xc3\xa4"}', severity=Severity.WARNING)


def at(monotonic: float) -> Instant:
    return Instant(monotonic, datetime.now(UTC))


def actor(folder: Path, broker: Mosquitto, environment: Mapping[str, str]) -> Daemon:
    settings = {
        "mqtt__host": "127.0.0.1",
        "mqtt__port": str(broker.port),
        "cameras": [{"name": "room", "source": "synthetic", "loop": True}],
        "alerts": ANYBODY,
    }
    return Daemon(folder, settings, dict(environment))


@pytest.mark.parametrize(
    "earlier", [{"VIRE_EDGE_DEVICE_ID": "old"}, {"VIRE_EDGE_MQTT__TOPIC_PREFIX": "home/old"}], ids=["name", "prefix"]
)
@pytest.mark.parametrize("rights", [None, "topic readwrite vire/box/#\n"], ids=["unheard", "refused"])
def test_alerts_of_an_earlier_name_arrive_under_the_present_one_in_order_and_before_later_ones(
    start_mosquitto: MosquittoFactory, tmp_path: Path, rights: str | None, earlier: dict[str, str]
) -> None:
    lines = ["allow_anonymous true"]
    if rights is not None:
        (tmp_path / "rights").write_text(rights)
        (tmp_path / "rights").chmod(0o600)
        lines.append(f"acl_file {tmp_path / 'rights'}")
    broker = start_mosquitto(*lines)
    with actor(tmp_path, broker, earlier) as before:
        wait_until(lambda: "alert started" in before.log, what="an alert under the earlier name")
        before.stop()
    with Listener(broker.config()) as listener, actor(tmp_path, broker, {}):
        first = listener.wait_for("alerts")
        listener.wait_for("alerts", lambda alert: alert["alert_id"] != first["alert_id"])
    told = [payload for topic, payload, _ in listener.received if topic == "alerts"]
    assert {alert["device_id"] for alert in told} == {DEVICE}
    assert [alert["event"] for alert in told if alert["alert_id"] == first["alert_id"]] == ["started", "ended"]


def test_only_the_address_of_a_kept_alert_changes() -> None:
    renamed = HALL.readdress(OLD)
    assert renamed.topic == "vire/hall/alerts"
    assert renamed.payload == b'{"schema":1,"device_id":"hall","text":"\xc3\xa4"}'
    assert (renamed.qos, renamed.expiry_seconds, renamed.severity) == (OLD.qos, OLD.expiry_seconds, OLD.severity)
    assert HALL.readdress(renamed) is renamed


@pytest.mark.parametrize("payload", [b"\xff{", b"", b"[1]"])
def test_a_payload_that_the_disk_has_damaged_arrives_as_it_is(payload: bytes) -> None:
    damaged = Message("vire/old/alerts", payload, severity=Severity.WARNING)
    assert HALL.readdress(damaged) == Message("vire/hall/alerts", payload, severity=Severity.WARNING)


def test_a_disk_that_comes_back_late_brings_its_alerts_under_the_present_name_too(tmp_path: Path) -> None:
    with closing(Outbox.open(tmp_path, 10, at(0.0))) as kept:
        kept.append([OLD], now=at(0.0))
    with closing(sqlite3.connect(tmp_path / DATABASE, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        outbox = Outbox.open(tmp_path, 10, at(1.0), HALL.readdress)
        assert "database is locked" in outbox.trouble
    with closing(outbox), capture_logs() as lines:
        outbox.append([Message("vire/hall/alerts", b"{}", severity=Severity.WARNING)], now=at(2.0))
        outbox.tend(at(3.0))
        topics: list[str] = []
        while (queued := outbox.after(len(topics), now=3.0)) is not None:
            topics.append(queued.message.topic)
    assert topics == ["vire/hall/alerts"] * 2
    assert {"event": "alerts_readdressed", "waiting": 1, "topic": "vire/hall/alerts", "log_level": "info"} in lines
