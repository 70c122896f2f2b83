"""The database's versions: each step makes the next one out of the one before."""

from __future__ import annotations

STEPS = (
    """
    CREATE TABLE alerts (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        since REAL NOT NULL,
        topic TEXT NOT NULL,
        payload BLOB NOT NULL,
        qos INTEGER NOT NULL,
        expiry_seconds INTEGER,
        severity TEXT NOT NULL
    );
    CREATE TABLE memory (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL,
        since REAL NOT NULL
    );
    CREATE TABLE clock (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        boot TEXT NOT NULL,
        monotonic REAL NOT NULL,
        utc REAL NOT NULL
    );
    """,
)
"""All times are seconds on the monotonic clock of the boot that the one row of `clock` names. It was
written last, so that time before a reboot counts exactly and only the time in between by the wall clock."""
