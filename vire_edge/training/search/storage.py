"""Where studies lie: an Optuna storage URL → the storage, and its failures → one line without the URL's secrets.

Any database that SQLAlchemy reaches will do. SQLite, the default, is for the processes of one machine: its locks
don't hold on network drives. Machines that share a search need a server, such as PostgreSQL or MySQL.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from vire_edge.errors import DependencyError, StorageError, TrainingError
from vire_edge.training.backend import load_optuna

HEARTBEAT_SECONDS = 5
GRACE_SECONDS = 30
"""A worker that was not heard of for so long is taken for dead."""
LOCK_SECONDS = 60
"""How long SQLite waits for another process' write."""
_NO_URL = (
    "the storage is no database URL; it looks like sqlite:///study.db or "
    "postgresql+psycopg://user:password@host/database"
)


def open_storage(url: str, *, on_dead: Callable[[Any, Any], None] | None = None) -> Any:
    """Open a storage, with its tables made where there are none.

    Args:
        url: `sqlite:///study.db`, `postgresql+psycopg://user:password@host/database` …
        on_dead: called with study and trial when a trial was marked as failed because its worker is silent.

    Raises:
        StorageError: it cannot be reached.
        TrainingError: it is no URL, or holds something else.
        DependencyError: Optuna or the database's driver is not installed.
    """
    optuna = load_optuna()
    try:
        with storage_errors(url), warnings.catch_warnings():
            # Heartbeats are called experimental since 2021.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.storages.RDBStorage(
                url,
                engine_kwargs={"connect_args": {"timeout": LOCK_SECONDS}} if url.startswith("sqlite:") else None,
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


def shown(url: str) -> str:
    """The URL as far as it may be shown: no user, password or options."""
    import sqlalchemy  # noqa: PLC0415  # comes with Optuna

    try:
        parts = sqlalchemy.engine.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        return "the storage URL"
    return f"{parts.drivername}://{parts.host or ''}/{parts.database or ''}"


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
            "install it, for PostgreSQL: pip install 'psycopg[binary]' and postgresql+psycopg://…"
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
    """A driver's first line, without what stands in the URL as user, password or option."""
    import sqlalchemy  # noqa: PLC0415  # comes with Optuna

    text = next(iter(str(cause).strip().splitlines()), "") or type(cause).__name__
    parts = sqlalchemy.engine.make_url(url)
    for secret in (parts.password, *parts.query.values()):
        if secret:
            text = text.replace(str(secret), "***")
    return text[:160]
