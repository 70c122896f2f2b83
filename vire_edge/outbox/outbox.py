"""The outbox: alerts until the broker has acknowledged them, and what the daemon remembers over a restart.

Everything is in memory, where the connection reads it; the disk holds a copy that is written before
anybody learns of an alert. A disk that fails costs the copy and nothing else: `trouble` tells of it,
and once it is back it gets all that it lacks.

When there are too many alerts, the expired go first, then the mildest and of those the oldest. An
`ended` may so outlive its `started`: each event tells the whole episode.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import structlog

from vire_edge.alert_queue import AlertQueue, Queued
from vire_edge.domain import Instant, Message
from vire_edge.errors import StorageError
from vire_edge.outbox import folder as state_folder
from vire_edge.outbox.clock import Clock, read_boot
from vire_edge.outbox.database import Contents, Database, Readdress, Recalled, Remembered
from vire_edge.outbox.opening import open_database
from vire_edge.outbox.trouble import complaint, retry_seconds

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Outbox:
    """Keeps alerts and a few texts. Every method may be called from any thread."""

    def __init__(self, folder: Path | None, capacity: int, boot: str) -> None:
        """Make it empty; `open` reads what there is.

        Args:
            folder: for this device alone; None to keep everything in memory.
            capacity: how many alerts it keeps.
            boot: tells this boot of the device from others.
        """
        self._folder = folder
        self._path = (folder or Path()) / state_folder.DATABASE
        self._boot = boot
        self._readdress: Readdress = lambda alert: alert
        self._capacity = capacity
        self._queue = AlertQueue(capacity)
        self._memory: dict[str, Remembered] = {}
        self._writing = threading.Lock()
        """Held while the disk is busy; reading the queue does not wait for it."""
        self._database: Database | None = None
        self._lock_descriptor: int | None = None
        self._loaded = False
        self._on_disk: set[int] = set()
        self._strangers = False
        """Whether the numbers on disk are not those in memory."""
        self._unwritten: set[str] = set()
        self._written_at: Clock | None = None
        self._failures = 0
        self._retry_at = float("-inf")
        self._trouble = ""
        self._set_aside: Path | None = None

    @classmethod
    def open(
        cls,
        folder: Path | None,
        capacity: int,
        now: Instant,
        readdress: Readdress | None = None,
        *,
        boot: str | None = None,
    ) -> Self:
        """Open the outbox of a state folder, and make the folder if there is none.

        A disk that is full or read-only is no error: what can be read of it is, and all else stays in memory.

        Args:
            folder: for this device alone; None to keep everything in memory.
            capacity: how many alerts it keeps.
            now: the present moment.
            readdress: applied to each alert that was on disk; left out, they go where they were to go.
            boot: tells this boot of the device from others; asked of the kernel if not given.

        Raises:
            StorageError: the folder cannot be ours, another process uses it, or a newer version has written it.
        """
        outbox = cls(folder, capacity, read_boot() if boot is None else boot)
        outbox._readdress = readdress or outbox._readdress
        try:
            outbox._connect(now)
        except StorageError:
            outbox.close()
            raise
        return outbox

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def last_number(self) -> int:
        """The number of the newest alert."""
        return self._queue.last_number

    @property
    def expired(self) -> int:
        """Alerts that waited until nobody wanted them any more, since the start."""
        return self._queue.expired

    @property
    def evicted(self) -> int:
        """Alerts that had to go because there were too many, since the start."""
        return self._queue.evicted

    @property
    def dropped(self) -> int:
        """Alerts that were not delivered, for whatever reason, since the start."""
        return self._queue.dropped

    @property
    def trouble(self) -> str:
        """What is wrong with the disk, and the remedy; empty while everything is on it."""
        return self._trouble

    @property
    def set_aside(self) -> Path | None:
        """Where the last damaged database was put since the start; None if none was found."""
        return self._set_aside

    def append(self, messages: Sequence[Message], *, now: Instant, memory: Mapping[str, str] | None = None) -> None:
        """Keep alerts, and with them what the daemon has to remember of them.

        They are on disk before anybody can see them, unless the disk is in trouble.

        Args:
            messages: alerts, in this order; a message without a severity is kept in memory only.
            now: the present moment, from which `expiry_seconds` count.
            memory: texts by key, as for `remember`.
        """
        remembered = {key: Remembered(value, now.monotonic) for key, value in (memory or {}).items()}
        with self._writing:
            numbered = self._queue.number(messages, now=now)
            self._memory.update(remembered)
            self._unwritten.update(remembered)
            self._write(_alerts(numbered), now)
            self._queue.insert(numbered, now=now.monotonic)
            if len(self._on_disk) > self._capacity:  # what had to go must not come back after a crash
                self._write((), now, self._on_disk.difference(queued.number for queued in self._queue.waiting))

    def remember(self, key: str, value: str, *, now: Instant) -> None:
        """Keep a text under a name, in place of an earlier one."""
        self.append((), now=now, memory={key: value})

    def recall(self, key: str, *, now: Instant) -> Recalled | None:
        """Return what was kept under a name, and how long ago; None if nothing was."""
        kept = self._memory.get(key)
        return None if kept is None else kept.recall(now.monotonic)

    def tend(self, now: Instant) -> None:
        """Drop what has expired, and bring the disk up to date; to be called about once a second."""
        self._queue.expire(now=now.monotonic)
        with self._writing:
            if self._database is not None and not self._database.in_place:
                log.warning("state_file_deleted", file=str(self._path), remedy="it is written anew")
                self._database.close()
                self._database = None
            if self._database is None and now.monotonic >= self._retry_at:
                self._reconnect(now)
            waiting = _alerts(self._queue.waiting)
            gone = self._on_disk.difference(queued.number for queued in waiting)
            fresh = [queued for queued in waiting if queued.number not in self._on_disk]
            clock_was_set = self._written_at is not None and self._written_at.was_set_before(now)
            if fresh or gone or self._unwritten or clock_was_set:
                self._write(fresh, now, gone)

    def after(self, number: int, *, now: float) -> Queued | None:
        """The first alert behind `number` that has not expired; 0 begins at the front."""
        return self._queue.after(number, now=now)

    def acknowledge(self, numbers: Iterable[int]) -> int:
        """Forget alerts that the broker has taken, all at once; how many of them were still kept."""
        numbers = set(numbers)
        known = self._queue.acknowledge(numbers)
        with self._writing:
            gone = self._on_disk & numbers
            if self._database is not None and gone:
                try:
                    self._database.delete(gone)
                except sqlite3.Error as error:
                    self._fail(complaint(self._path, error))
                else:
                    self._on_disk -= gone
        return known

    def give_up(self, number: int) -> None:
        """Forget an alert that can never be delivered, and count it."""
        self._queue.give_up(number)

    def close(self) -> None:
        """Let go of the file and of the folder; what is on disk stays."""
        with self._writing:
            if self._database is not None:
                self._database.close()
                self._database = None
            if self._lock_descriptor is not None:
                os.close(self._lock_descriptor)
                self._lock_descriptor = None
            self._folder = None

    # --- the disk; only while `_writing` is held ----------------------------------------------

    def _connect(self, now: Instant) -> None:
        """Open the database, take in what it holds, and see whether it can be written.

        Raises:
            StorageError: a person has to decide.
        """
        if self._folder is None:
            return
        try:
            if self._lock_descriptor is None:
                self._lock_descriptor = state_folder.claim(self._folder)
            opened = open_database(self._path, now=Clock.read(self._boot, now))
        except (OSError, sqlite3.Error) as error:
            self._fail(complaint(self._path, error), now)
            return
        self._database = opened.database
        self._set_aside = opened.set_aside or self._set_aside
        self._take_in(opened.contents, now)
        self._write((), now)

    def _reconnect(self, now: Instant) -> None:
        try:
            self._connect(now)
        except StorageError as error:
            self._fail(str(error), now)

    def _take_in(self, contents: Contents, now: Instant) -> None:
        self._on_disk = {queued.number for queued in contents.alerts}
        if not self._loaded:
            self._loaded = True
            # The disk was away at the start, and its numbers have been given to other alerts: what it kept comes last.
            self._strangers = self._queue.last_number > 0
            self._queue.continue_after(contents.last_number)
            alerts = [replace(kept, message=self._readdress(kept.message)) for kept in contents.alerts]
            if alerts != contents.alerts:
                log.info("alerts_readdressed", waiting=len(alerts), topic=alerts[0].message.topic)
            if self._strangers:
                numbers = self._queue.number([queued.message for queued in alerts], now=now)
                alerts = [replace(new, since=old.since) for new, old in zip(numbers, alerts, strict=True)]
            self._queue.insert(alerts, now=now.monotonic)
            self._memory = contents.memory | self._memory
        self._unwritten.update(key for key in self._memory if self._memory[key] != contents.memory.get(key))

    def _write(self, alerts: Sequence[Queued], now: Instant, gone: Collection[int] = ()) -> None:
        if self._database is None:
            return
        if self._strangers:
            alerts = list({one.number: one for one in (*_alerts(self._queue.waiting), *alerts)}.values())
            gone = set(self._on_disk)
        clock = Clock.read(self._boot, now)
        try:
            self._database.write(alerts, {key: self._memory[key] for key in self._unwritten}, gone, clock)
        except sqlite3.Error as error:
            self._fail(complaint(self._path, error), now)
            return
        self._on_disk.difference_update(gone)
        self._on_disk.update(queued.number for queued in alerts)
        self._strangers = False
        self._unwritten.clear()
        self._written_at = clock
        self._failures = 0
        if self._trouble:
            self._trouble = ""
            log.info("state_file_written_again", file=str(self._path), alerts=len(self._on_disk))

    def _fail(self, trouble: str, now: Instant | None = None) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
        if now is not None:
            self._retry_at = now.monotonic + retry_seconds(self._failures)
        self._failures += 1
        if trouble != self._trouble:
            self._trouble = trouble
            log.warning("state_file_trouble", reason=trouble)


def _alerts(queued: Iterable[Queued]) -> list[Queued]:
    """Return those that belong on disk: an answer to a command is worth nothing after a restart."""
    return [one for one in queued if one.message.severity is not None]
