"""The disk fails: the daemon goes on, says so, and loses nothing that is not lost with the disk itself."""

from __future__ import annotations

import random
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from brokers import Mosquitto, Wire
from daemons import Daemon
from disks import Disk
from fault_table import FaultRow
from faults import Caregiver, check_episodes, eventually, log_lines, raised, restless, wait_until_all_arrived

pytestmark = pytest.mark.fault

DATABASE = "state.sqlite3"
BACK_SECONDS = 70.0
"""A minute is the longest pause between two attempts at a disk."""


class Home:
    """A daemon with its broker, who listens to it, and a wire between them that can be stopped."""

    def __init__(self, folder: Path, broker: Mosquitto, state: Path, running: ExitStack, **changes: str) -> None:
        self.wire = running.enter_context(closing(Wire(broker.port)))
        self.caregiver = running.enter_context(Caregiver(broker.port))
        settings = restless(folder, self.wire.port, **changes)
        self.daemon = Daemon(folder, settings, {"VIRE_EDGE_STATE_DIR": str(state)})

    def goes_on(self) -> None:
        """Check that what is seen from now on is told: alerts, states and health."""
        told = len(self.caregiver.heard)
        for topic in ("alerts", "state/room", "health"):
            eventually(partial(self._has_told, topic, since=told), what=f"more on {topic}")

    def _has_told(self, topic: str, *, since: int) -> bool:
        return topic in {one.topic for one in list(self.caregiver.heard)[since:]}

    def raises(self, count: int) -> None:
        """Wait for so many more events."""
        enough = len(raised(self.daemon)) + count
        eventually(lambda: len(raised(self.daemon)) >= enough, what=f"{count} more events")

    def delivery(self) -> dict[str, Any]:
        """Return what the newest report says of the way to the caregiver."""
        health = self.caregiver.wait_for("health", "a report")
        delivery: dict[str, Any] = health["delivery"]
        return delivery

    def in_trouble(self) -> None:
        """Wait until the report names the file that cannot be written, and see that all else goes on."""
        eventually(lambda: DATABASE in self.delivery()["storage"], what="health tells of the disk")
        self.goes_on()

    def recovers(self) -> float:
        """Wait until the report is well again; return how long that took."""
        began = time.monotonic()
        eventually(lambda: not self.delivery()["storage"], what="health is well again", timeout_seconds=BACK_SECONDS)
        return time.monotonic() - began

    def finish(self) -> str:
        """Stop; check that nothing is lost, and say how much that was."""
        wait_until_all_arrived(self.daemon, self.caregiver)
        self.daemon.stop()
        wait_until_all_arrived(self.daemon, self.caregiver)
        check_episodes(self.caregiver.alerts, all_ended=True)
        assert "Traceback" not in self.daemon.log
        return f"{len(set(raised(self.daemon)))} events raised, 0 lost"


def test_a_disk_that_fails_costs_nothing_but_what_it_held(
    tmp_path: Path, mosquitto: Mosquitto, disk: Disk, fault_full: bool, fault_row: FaultRow
) -> None:
    seconds = 60.0 if fault_full else 1.0
    disk.write_protect()
    with ExitStack() as running:
        home = Home(tmp_path, mosquitto, disk.state, running)
        with home.daemon as daemon:
            back = {}
            home.in_trouble()
            time.sleep(seconds)
            disk.allow_writing()
            back["read-only from the start"] = home.recovers()

            disk.fill()
            home.in_trouble()
            time.sleep(seconds)
            disk.make_room()
            back["full"] = home.recovers()

            disk.wear_out()
            home.in_trouble()
            time.sleep(seconds)
            # What is raised now has no way out: only a disk that got all that it lacked can bring it back.
            home.wire.stall()
            before = written_again(daemon)  # a full disk may have had a little room in between
            disk.replace()
            eventually(
                lambda: written_again(daemon) > before,
                what="the new disk is written",
                timeout_seconds=BACK_SECONDS,
            )
            daemon.send(signal.SIGKILL)
            daemon.wait()
        home.wire.resume()
        with home.daemon:
            home.goes_on()
            outcome = home.finish()
    fault_row(
        "disk read-only from the start, full, worn out and replaced",
        done=f"one after the other in a running daemon, each for {seconds:.0f} s; then SIGKILL",
        result=f"{outcome}; health said so each time, and was well again after "
        + ", ".join(f"{seconds:.1f} s ({what})" for what, seconds in back.items()),
    )


def written_again(daemon: Daemon) -> int:
    return sum(line["event"] == "state_file_written_again" for line in log_lines(daemon))


def scribble(path: Path, chance: random.Random) -> None:
    """Damage a part of a file."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(chance.randrange(size // 2))
        file.write(chance.randbytes(size // 2))


def shorten(path: Path, chance: random.Random) -> None:
    """Lose the end of a file."""
    with path.open("r+b") as file:
        file.truncate(chance.randrange(100, path.stat().st_size))


def replace_by_another(path: Path, _chance: random.Random) -> None:
    """Put a database of something else in its place."""
    path.unlink()
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("CREATE TABLE songs (title TEXT)")


def test_a_database_that_is_damaged_before_the_start_is_set_aside(
    tmp_path: Path, mosquitto: Mosquitto, fault_full: bool, fault_row: FaultRow
) -> None:
    damages: list[Callable[[Path, random.Random], None]] = [scribble, shorten, replace_by_another]
    chance = random.Random(3)
    starts = 30 if fault_full else 3
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    with ExitStack() as running:
        home = Home(tmp_path, mosquitto, state, running)
        damaged = b""
        for number in range(starts + 1):
            with home.daemon as daemon:
                home.goes_on()
                kept = list(state.glob(f"{DATABASE}.damaged-*"))
                assert len(kept) == number
                told = home.delivery()["storage"]
                if number:
                    as_it_was = [path for path in kept if path.read_bytes() == damaged]
                    assert as_it_was, "the damaged file was not kept as it was"
                    assert any(f"a damaged state file was set aside as {path}" in told for path in as_it_was)
                else:
                    assert told == ""
                if number == starts:
                    daemon.stop()
                    break
                home.wire.stall()
                home.raises(20)
                daemon.send(signal.SIGKILL)
                daemon.wait()
            home.wire.resume()
            with closing(sqlite3.connect(state / DATABASE)) as database:  # takes its log into the file
                assert database.execute("SELECT count(*) FROM alerts").fetchone()[0] > 0
            damages[number % len(damages)](state / DATABASE, chance)
            damaged = (state / DATABASE).read_bytes()
    assert "Traceback" not in home.daemon.log
    fault_row(
        "database damaged before the start",
        done=f"{starts} times: overwritten, cut short, one of something else",
        result="set aside each time, byte for byte, and health says so; detection and delivery went on at once",
    )


def test_a_database_that_is_damaged_in_use_stops_nothing(
    tmp_path: Path, mosquitto: Mosquitto, fault_full: bool, fault_row: FaultRow
) -> None:
    times = 20 if fault_full else 2
    chance = random.Random(5)
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    with ExitStack() as running:
        home = Home(tmp_path, mosquitto, state, running)
        with home.daemon:
            for number in range(times):
                home.goes_on()
                scribble(state / (DATABASE if number % 2 else f"{DATABASE}-wal"), chance)
                home.goes_on()
            outcome = home.finish()
        with home.daemon:
            home.goes_on()
            home.finish()
    fault_row(
        "database damaged in use",
        done=f"{times} times half of the file or of its log overwritten",
        result=f"{outcome}; the next start worked, too",
    )


def test_an_outbox_at_its_bound_counts_what_it_lets_go_and_the_rest_goes_on(
    tmp_path: Path, mosquitto: Mosquitto, fault_row: FaultRow
) -> None:
    bound = 20
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    with ExitStack() as running:
        home = Home(tmp_path, mosquitto, state, running, mqtt__max_queued_alerts=str(bound))
        with home.daemon as daemon:
            home.goes_on()
            home.wire.stall()
            home.raises(3 * bound)
            home.wire.resume()
            home.goes_on()
            eventually(lambda: home.delivery()["evicted"] and not home.delivery()["queued"], what="it has caught up")
            daemon.stop()
        heard = {(alert["alert_id"], alert["event"]) for alert in home.caregiver.alerts}
        lost = set(raised(daemon)) - heard
        evicted = max(one.payload["delivery"]["evicted"] for one in home.caregiver.heard if one.topic == "health")
    assert 0 < len(lost) <= evicted
    fault_row(
        "outbox at its bound",
        done=f"{len(set(raised(daemon)))} events, of which the outbox keeps {bound}, while the broker is away",
        result=f"{len(lost)} let go, health says {evicted}; the newest and gravest and all later ones arrive",
    )
