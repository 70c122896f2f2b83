"""The folder of `vire-edge tune` or a storage URL → the searches in it. Only reads: what is missing is not made."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from vire_edge.errors import StorageError
from vire_edge.training.backend import load_optuna
from vire_edge.training.report.content import Search
from vire_edge.training.search.results import plotted
from vire_edge.training.search.storage import shown, sqlite_url
from vire_edge.training.search.study import read_studies


def read_searches(place: str) -> list[Search]:
    """Read all searches of a place.

    Args:
        place: a folder that holds `study.db`, or a URL as `open_storage` takes it.

    Raises:
        StorageError: there is nothing, or nothing that `vire-edge tune` made.
        As `open_storage`.
    """
    load_optuna()
    if "://" in place:
        url, name, file = place, shown(place), _sqlite_file(place)
    else:
        file = Path(place) / "study.db"
        url, name = sqlite_url(file), str(file)
    nothing = f"{name} holds no search of vire-edge tune; give its folder, or its storage URL"
    if file is not None:
        if not file.exists():
            raise StorageError(f"{file} does not exist; give the folder of vire-edge tune, or its storage URL")
        if not _holds_studies(file):
            raise StorageError(nothing)
    found = [Search(study, plotted(trials)) for study, (_, trials) in read_studies(url).items()]
    if not found:
        raise StorageError(nothing)
    return found


def _sqlite_file(url: str) -> Path | None:
    """The file of an SQLite URL."""
    kind, _, rest = url.partition("://")
    path = rest.partition("?")[0].removeprefix("/")
    return Path(path) if kind.partition("+")[0] == "sqlite" else None


def _holds_studies(file: Path) -> bool:
    """Whether a file has Optuna's tables; to open it as a storage would make them."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(file.resolve()))}?mode=ro", uri=True)) as database:
            return bool(database.execute("SELECT 1 FROM sqlite_master WHERE name = 'studies'").fetchall())
    except sqlite3.Error:
        return False
