"""Where studies lie: an Optuna storage URL → the storage, and its failures → one line without the URL's secrets.

Any database that SQLAlchemy reaches will do. SQLite, the default, is for the processes of one machine: its locks
don't hold on network drives. Machines that share a search need a server, such as PostgreSQL or MySQL.
"""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vire_edge.errors import DependencyError, StorageError, TrainingError
from vire_edge.training.backend import load_optuna

HEARTBEAT_SECONDS = 5
GRACE_SECONDS = 30
"""A worker that was not heard of for so long is taken for dead."""
LOCK_SECONDS = 60
"""How long SQLite waits for another process' write."""
_NO_URL = (
    "the storage is no database URL; it looks like sqlite:///study.db or "
    "postgresql+psycopg://user:password@host/database; escape @ as %40"
)
_DRIVERS = {
    "postgresql": "pip install 'psycopg[binary]' and begin the URL with postgresql+psycopg://",
    "mysql": "pip install pymysql and begin the URL with mysql+pymysql://",
}
"""How to have a driver, by the kind of database."""
_NO_HOST, _NO_DATABASE = re.compile(r"[@;=?#]"), re.compile(r"[@;=]")
"""What stands in a host or a database only where a part of the password or an option was taken for it."""


def open_storage(url: str, *, on_dead: Callable[[Any, Any], object] | None = None, to_read: bool = False) -> Any:
    """Open a storage, with its tables made where there are none.

    Args:
        url: `sqlite:///study.db`, `postgresql+psycopg://user:password@host/database` …
        to_read: only; neither file nor tables are made.
        on_dead: called with study and trial when a trial was marked as failed because its worker is silent.

    Raises:
        StorageError: it cannot be reached, or is only to be read and holds no studies.
        TrainingError: it is no URL, or holds something else.
        DependencyError: Optuna or the database's driver is not installed.
    """
    optuna = load_optuna()
    parts = _parts(url)
    file = parts.database or ""
    if _is_sqlite(parts) and file in ("", ":memory:"):
        raise TrainingError("a storage in memory is gone with each process; name a file, such as sqlite:///study.db")
    if to_read and _is_sqlite(parts) and not file.startswith("file:") and not Path(file).is_file():
        raise StorageError(f"{shown(url)} cannot be read (there is no such file); name the one that tune made")
    try:
        with storage_errors(url), warnings.catch_warnings():
            # Heartbeats are called experimental since 2021.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.storages.RDBStorage(
                url,
                engine_kwargs={"connect_args": {"timeout": LOCK_SECONDS}} if _is_sqlite(parts) else None,
                skip_table_creation=to_read,
                heartbeat_interval=HEARTBEAT_SECONDS,
                grace_period=GRACE_SECONDS,
                heartbeat_stale_trial_callback=on_dead,
            )
    except ValueError:
        raise TrainingError(_NO_URL) from None
    except RuntimeError as error:
        raise TrainingError(
            f"{shown(url)} was made by another version of Optuna; upgrade it with: optuna storage upgrade"
        ) from error


def sqlite_url(file: Path) -> str:
    """The URL of a file, whatever it is called."""
    load_optuna()
    import sqlalchemy  # noqa: PLC0415  # comes with Optuna

    return str(sqlalchemy.engine.URL.create("sqlite", database=str(file.resolve())))


def shown(url: str) -> str:
    """The URL as far as it may be shown: no user, password or options."""
    try:
        parts = _parts(url)
    except TrainingError:
        return "the storage URL"
    return f"{parts.drivername}://{parts.host or ''}/{parts.database or ''}"


def _parts(url: str) -> Any:
    """The URL taken apart.

    Raises:
        TrainingError: it is none, or an unescaped sign in the password makes it another one than was meant.
    """
    import sqlalchemy  # noqa: PLC0415  # comes with Optuna

    try:
        parts = sqlalchemy.engine.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise TrainingError(_NO_URL) from None
    # A file of SQLite may be called what it likes: nobody logs in to it.
    if not _is_sqlite(parts) and (
        url.count("@") > 1 or _NO_HOST.search(parts.host or "") or _NO_DATABASE.search(parts.database or "")
    ):
        raise TrainingError(_NO_URL)
    return parts


def _is_sqlite(parts: Any) -> bool:
    return bool(parts.get_backend_name() == "sqlite") and not parts.host


@contextlib.contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Translate what goes wrong with a storage inside; no message holds more of the URL than `shown`."""
    optuna = load_optuna()
    import sqlalchemy  # noqa: PLC0415  # comes with Optuna

    try:
        yield
    except sqlalchemy.exc.NoSuchModuleError:
        raise DependencyError(
            f"{shown(url)}: there is no such kind of database; begin the URL with sqlite, postgresql or mysql"
        ) from None
    except ImportError as error:
        cause = error.__cause__ or error
        raise DependencyError(
            f"{shown(url)}: the database's driver is not installed ({cause}); "
            f"{_DRIVERS.get(_parts(url).get_backend_name(), 'install it')}"
        ) from None
    except sqlalchemy.exc.ArgumentError:
        raise TrainingError(_NO_URL) from None
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        # The driver's own words may repeat the password or the options: only their kind is told.
        cause = getattr(error, "orig", None) or getattr(error.__cause__, "orig", None) or error
        raise StorageError(
            f"{shown(url)} cannot be used ({_first_words(cause, url)}); is the server up, the name right, space free?"
        ) from None


def _first_words(cause: BaseException, url: str) -> str:
    """A driver's first line, without what stands in the URL as user, password or option, escaped or not."""
    text = next(iter(str(cause).strip().splitlines()), "") or type(cause).__name__
    parts = _parts(url)
    given = [value for values in parts.query.values() for value in ([values] if isinstance(values, str) else values)]
    secrets = {form for value in (parts.password, *given) if value for form in (str(value), quote(str(value), safe=""))}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    if parts.username:
        # A name may be a word's part, such as "me".
        text = re.sub(rf"(?<!\w){re.escape(parts.username)}(?!\w)", "***", text)
    return text[:160]
