"""The SQLite file: read whole, written in transactions that are on disk when they end."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vire_edge.alert_queue import Queued
from vire_edge.domain import Message, Severity
from vire_edge.outbox.clock import Clock


@dataclass(frozen=True, slots=True)
class Remembered:
    """A text of the daemon's memory."""

    value: str
    since: float
    """Monotonic seconds; before the boot for what an earlier one left behind."""

    def recall(self, now: float) -> Recalled:
        """Tell it at `now`, monotonic seconds."""
        return Recalled(self.value, max(0.0, now - self.since))


@dataclass(frozen=True, slots=True)
class Recalled:
    """What was remembered."""

    value: str
    elapsed_seconds: float
    """How long ago, never negative; across a reboot only as right as the device's clock."""


Readdress = Callable[[Message], Message]
"""An alert as it was kept → the same under the name that the device has today."""


@dataclass(frozen=True, slots=True)
class Contents:
    """All that a database holds, on the clock of this boot."""

    alerts: list[Queued]
    memory: dict[str, Remembered]
    last_number: int
    """The highest that any alert ever had."""


class Database:
    """One open file. Not safe between threads: its user takes turns."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Take over a connection; `open_database` makes it."""
        self._path = path
        self._connection = connection
        self._file = _identity(path)

    @property
    def in_place(self) -> bool:
        """Whether the file is still the one that was opened: somebody may have deleted it."""
        return _identity(self._path) == self._file

    def load(self, now: Clock) -> Contents:
        """Read everything.

        Raises:
            sqlite3.Error: the disk fails, or the file is damaged.
            ValueError, TypeError: something in it is not what we write.
        """
        shift = self._shift_to(now)
        rows = self._connection.execute(
            "SELECT number, since, topic, payload, qos, expiry_seconds, severity FROM alerts ORDER BY number"
        )
        alerts = [
            Queued(
                number,
                Message(topic, payload, qos, expiry_seconds=expiry_seconds, severity=Severity(severity)),
                since=since + shift,
            )
            for number, since, topic, payload, qos, expiry_seconds, severity in rows
        ]
        memory = {
            key: Remembered(value, since + shift)
            for key, value, since in self._connection.execute("SELECT key, value, since FROM memory")
        }
        highest = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'alerts'").fetchone()
        return Contents(alerts, memory, 0 if highest is None else highest[0])

    def write(
        self, alerts: Sequence[Queued], memory: Mapping[str, Remembered], gone: Collection[int], now: Clock
    ) -> None:
        """Add alerts and texts, and delete alerts; all of it or nothing, on disk at the return.

        Args:
            alerts: to be added, on the clock of `now`.
            memory: to be added or replaced.
            gone: numbers of alerts to be deleted.
            now: the clocks.

        Raises:
            sqlite3.Error: the disk fails; nothing was written.
        """
        with transaction(self._connection) as connection:
            if shift := self._shift_to(now):
                connection.execute("UPDATE alerts SET since = since + ?", (shift,))
                connection.execute("UPDATE memory SET since = since + ?", (shift,))
            connection.execute(
                "INSERT OR REPLACE INTO clock (only, boot, monotonic, utc) VALUES (1, ?, ?, ?)",
                (now.boot, now.monotonic, now.utc),
            )
            connection.executemany("DELETE FROM alerts WHERE number = ?", [(number,) for number in gone])
            connection.executemany(
                "INSERT INTO alerts (number, since, topic, payload, qos, expiry_seconds, severity)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                [_row(queued) for queued in alerts],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO memory (key, value, since) VALUES (?, ?, ?)",
                [(key, remembered.value, remembered.since) for key, remembered in memory.items()],
            )

    def delete(self, numbers: Collection[int]) -> None:
        """Delete alerts, on disk at the return.

        Raises:
            sqlite3.Error: the disk fails; nothing was deleted.
        """
        with transaction(self._connection) as connection:
            connection.executemany("DELETE FROM alerts WHERE number = ?", [(number,) for number in numbers])

    def close(self) -> None:
        """Let go of the file."""
        with contextlib.suppress(sqlite3.Error):  # what was promised is on disk already
            self._connection.close()

    def _shift_to(self, now: Clock) -> float:
        row = self._connection.execute("SELECT boot, monotonic, utc FROM clock").fetchone()
        return 0.0 if row is None else Clock(*row).shift_to(now)


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Do all of it or nothing; on disk at the end."""
    try:
        # What is held in memory is read anew: damage shows here, where all can be written again, not at the next start.
        connection.execute("PRAGMA shrink_memory")
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")
    except UnicodeDecodeError as error:  # SQLite complains of damage and quotes it
        raise sqlite3.DatabaseError(str(error)) from error
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled it back by itself
            connection.execute("ROLLBACK")
        raise


def _row(queued: Queued) -> tuple[object, ...]:
    message = queued.message
    severity = None if message.severity is None else message.severity.value
    return (
        queued.number,
        queued.since,
        message.topic,
        message.payload,
        message.qos,
        message.expiry_seconds,
        severity,
    )


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
