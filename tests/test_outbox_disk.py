"""What disks, files and other processes do to the outbox: nothing that it does not survive, or say what to do about."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from brokers import wait_until
from disks import Disk
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from vire_edge.domain import Instant, Message, Severity
from vire_edge.errors import StorageError
from vire_edge.outbox import Outbox
from vire_edge.outbox.clock import Clock
from vire_edge.outbox.opening import open_database
from vire_edge.outbox.schema import STEPS
from vire_edge.outbox.trouble import RETRY_LIMIT_SECONDS

QUICK_DISK = Path("/dev/shm")
"""Where there is one, its `fsync` costs nothing."""
NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)

PRELUDE = """
import ctypes, os, resource, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from vire_edge.domain import Instant, Message, Severity
from vire_edge.outbox import Outbox

def at(seconds):
    return Instant(float(seconds), datetime(2026, 7, 1, 12, tzinfo=UTC))

def alert(text):
    return Message("vire/hall/alerts", text.encode(), severity=Severity.WARNING)

def waiting(outbox):
    texts, number = [], 0
    while (queued := outbox.after(number, now=0.0)) is not None:
        texts.append(queued.message.payload.decode()[:20])
        number = queued.number
    return texts

folder = Path(sys.argv[1])
"""


def at(seconds: float = 0.0) -> Instant:
    return Instant(seconds, NOON)


def alert(text: str, severity: Severity = Severity.WARNING) -> Message:
    return Message("vire/hall/alerts", text.encode(), severity=severity)


def waiting(outbox: Outbox) -> list[str]:
    texts, number = [], 0
    while (queued := outbox.after(number, now=0.0)) is not None:
        texts.append(queued.message.payload.decode())
        number = queued.number
    return texts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


Start = Callable[..., Outbox]


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """`start()` opens the outbox of the folder; an earlier one is closed."""
    opened: list[Outbox] = []

    def begin(now: Instant | None = None) -> Outbox:
        for outbox in opened:
            outbox.close()
        opened.append(Outbox.open(folder, 1000, now or at(), boot="boot"))
        return opened[-1]

    yield begin
    for outbox in opened:
        outbox.close()


def run(script: str, *arguments: object, prefix: tuple[str, ...] = (), check: bool = True) -> list[str]:
    """The lines that a process of its own prints."""
    done = subprocess.run(
        [*prefix, sys.executable, "-u", "-c", PRELUDE + textwrap.dedent(script), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert not check or done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def in_a_file_system_of_its_own() -> tuple[str, ...]:
    """What a command is started with so that it may mount; as root or as anybody, where the kernel lets one."""
    for prefix in (("unshare", "--mount"), ("unshare", "--user", "--map-root-user", "--mount")):
        if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0:
            return prefix
    pytest.skip("this machine lets nobody mount a file system of its own")


def user_version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


# --- killed ------------------------------------------------------------------------------------


def test_whatever_was_promised_before_a_kill_is_there(folder: Path, start: Start) -> None:
    script = """
    outbox = Outbox.open(folder, 100_000, at(0))
    for number in range(100_000):
        outbox.append([alert(str(number))], now=at(0), memory={"last": str(number)})
        print(number, flush=True)
    """
    folder.mkdir(mode=0o700)
    # Two lives: the second goes on where the first was killed.
    promised = 0
    for _ in range(2):
        with subprocess.Popen(
            [sys.executable, "-c", PRELUDE + textwrap.dedent(script), str(folder)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for count, _ in enumerate(process.stdout, start=1):
                if count == 25:
                    process.send_signal(signal.SIGKILL)
                    break
            told = 25 + len(process.stdout.readlines())
        outbox = start()
        assert outbox.trouble == ""
        texts = waiting(outbox)
        # One more may be on disk than the process came to say.
        assert len(texts) - promised in {told, told + 1}
        assert texts[promised:] == [str(number) for number in range(len(texts) - promised)]
        recalled = outbox.recall("last", now=at())
        assert recalled is not None
        assert recalled.value == texts[-1]
        promised = len(texts)
        outbox.close()


# --- a disk that fails ---------------------------------------------------------------------------


def test_a_full_disk_costs_the_copy_and_nothing_else(tmp_path: Path) -> None:
    script = """
    os.system(f"mount -t tmpfs -o size=400k tmpfs {folder}")
    folder = folder / "state"
    outbox = Outbox.open(folder, 1000, at(0))
    outbox.append([alert("before")], now=at(0))
    filler = folder.parent / "filler"
    try:
        filler.write_bytes(b"x" * 1_000_000)
    except OSError as error:
        print(error.strerror)
    for number in range(40):
        outbox.append([alert(f"{number:02} " + "x" * 4000)], now=at(1), memory={"last": str(number)})
    print(outbox.trouble)
    print(len(outbox), outbox.acknowledge([1]), len(outbox))
    for second in range(2, 10):
        outbox.tend(at(second))
    print(outbox.trouble)
    filler.unlink()
    os.system(f"mount -o remount,size=4m {folder.parent}")
    outbox.tend(at(100))
    print(repr(outbox.trouble))
    outbox.close()
    outbox = Outbox.open(folder, 1000, at(101))
    print(len(outbox), waiting(outbox)[0][:2], waiting(outbox)[-1][:2], outbox.recall("last", now=at(101)).value)
    """
    lines = [
        line for line in run(script, tmp_path, prefix=in_a_file_system_of_its_own()) if not line.startswith("2026-")
    ]
    path = tmp_path / "state" / "state.sqlite3"
    full = f"{path} cannot be written (database or disk is full); make room on this disk"
    assert lines == ["No space left on device", full, "41 1 40", full, "''", "40 00 39 39"]


def test_a_full_disk_of_small_blocks_ends_no_process(disk: Disk) -> None:
    # Less than a page of memory each: of a file that is mapped, some can be missing.
    script = """
    outbox = Outbox.open(folder, 1000, at(0))
    outbox.append([alert("before")], now=at(0))
    ballast = folder.parent / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65_536, 1024, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                pass
    for number in range(40):
        outbox.append([alert(f"{number:02} " + "x" * 4000)], now=at(100 * number))
        outbox.tend(at(100 * number))
    print(outbox.trouble)
    ballast.unlink()
    outbox.tend(at(4000))
    print(repr(outbox.trouble))
    outbox.close()
    print(len(Outbox.open(folder, 1000, at(4001))))
    """
    lines = [line for line in run(script, disk.state) if not line.startswith("2026-")]
    path = disk.state / "state.sqlite3"
    assert lines == [
        f"{path} cannot be written (database or disk is full); make room on this disk",
        "''",
        "41",
    ]


def test_a_file_size_limit_is_survived_like_any_error_of_the_disk(folder: Path) -> None:
    script = """
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    outbox = Outbox.open(folder, 1000, at(0))
    outbox.append([alert("before")], now=at(0))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))
    for number in range(20):
        outbox.append([alert(f"{number:02} " + "x" * 4000)], now=at(1))
    print(outbox.trouble)
    print(len(outbox))
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    outbox.tend(at(100))
    print(repr(outbox.trouble))
    os.kill(os.getpid(), signal.SIGKILL)
    """
    lines = [line for line in run(script, folder, check=False) if not line.startswith("2026-")]
    trouble = f"{folder / 'state.sqlite3'} cannot be written (disk I/O error); the disk fails"
    assert lines[0].startswith(trouble)
    assert lines[1:] == ["21", "''"]
    with closing(Outbox.open(folder, 1000, at())) as outbox:
        assert [text[:2] for text in waiting(outbox)] == ["be", *(f"{number:02}" for number in range(20))]


@pytest.mark.parametrize("ended", ["closed", "killed"])
def test_a_disk_that_becomes_read_only_and_writable_again(tmp_path: Path, ended: str) -> None:
    script = """
    os.system(f"mount -t tmpfs tmpfs {folder}")
    def read_only(yes):
        # By force, as the kernel does with a worn-out card: files that are open for writing would prevent it.
        os.system(f"mount -o remount,{'ro' if yes else 'rw'} {folder}")
    state = folder / "state"
    if os.fork() == 0:
        outbox = Outbox.open(state, 1000, at(0))
        outbox.append([alert("before")], now=at(0), memory={"old": "old"})
        if sys.argv[2] == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        outbox.close()
        os._exit(0)
    os.wait()
    read_only(True)
    outbox = Outbox.open(state, 1000, at(0))
    print(outbox.trouble)
    outbox.append([alert("while")], now=at(1), memory={"new": "new"})
    print(waiting(outbox), outbox.recall("old", now=at(1)).value)
    outbox.tend(at(10))
    print(outbox.trouble)
    read_only(False)
    outbox.tend(at(100))
    print(repr(outbox.trouble), waiting(outbox))
    outbox.close()
    outbox = Outbox.open(state, 1000, at(100))
    print(waiting(outbox), *(outbox.recall(key, now=at(100)).value for key in ("old", "new")))
    """
    lines = [
        line
        for line in run(script, tmp_path, ended, prefix=in_a_file_system_of_its_own())
        if not line.startswith("2026-")
    ]
    trouble = (
        f"{tmp_path / 'state' / 'state.sqlite3'} cannot be written (attempt to write a readonly database); "
        "make the disk writable; a memory card that has become read-only is worn out"
    )
    both = "['before', 'while']"
    assert lines == [trouble, f"{both} old", trouble, f"'' {both}", f"{both} old new"]


@contextmanager
def quota_reached() -> Iterator[None]:
    """Let nothing be written to any file, as on a disk that fails; not even a log."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with capture_logs():
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_another_program_has_locked_is_written_later(folder: Path, start: Start) -> None:
    path = folder / "state.sqlite3"
    outbox = start()
    outbox.append([alert("a"), alert("b")], now=at())
    with capture_logs() as lines:
        with quota_reached():
            outbox.append([alert("c")], now=at(), memory={"key": "value"})
            assert "disk I/O error" in outbox.trouble
        # Only while a disk fails the outbox lets go of the file.
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for second in (1.0, 1.0 + RETRY_LIMIT_SECONDS):
                outbox.tend(at(second))
                assert outbox.trouble == (
                    f"{path} cannot be written (database is locked); close the other program that has the file open"
                )
            outbox.acknowledge([1])
            assert waiting(outbox) == ["b", "c"]
            other.execute("ROLLBACK")
        outbox.tend(at(1.0 + 2 * RETRY_LIMIT_SECONDS))
    assert outbox.trouble == ""
    assert [line["event"] for line in lines] == ["state_file_trouble", "state_file_written_again"]
    outbox = start()
    assert waiting(outbox) == ["b", "c"]
    recalled = outbox.recall("key", now=at())
    assert recalled is not None
    assert recalled.value == "value"


def test_no_other_program_gets_between(folder: Path, start: Start) -> None:
    script = """
    import sqlite3
    with sqlite3.connect(folder / "state.sqlite3", timeout=0.1) as other:
        try:
            other.execute("SELECT * FROM alerts")
        except sqlite3.OperationalError as error:
            print(error)
    """
    outbox = start()
    for text in "ab":
        outbox.append([alert(text)], now=at())
        assert run(script, folder) == ["database is locked"]
    assert outbox.trouble == ""
    outbox.close()
    assert run(script, folder) == []


def test_an_acknowledgement_that_the_disk_missed_reaches_it_later(start: Start) -> None:
    outbox = start()
    outbox.append([alert("a"), alert("b")], now=at())
    with quota_reached():
        assert outbox.acknowledge([1]) == 1
        assert "disk I/O error" in outbox.trouble
    outbox.tend(at(1.0))
    assert outbox.trouble == ""
    assert waiting(start()) == ["b"]


def test_attempts_at_a_disk_that_fails_become_seldom(start: Start) -> None:
    outbox = start()
    retries = []
    with quota_reached():
        outbox.append([alert("a")], now=at(0.0))
        for second in range(1, 200):
            before = outbox._retry_at
            if second >= before:
                outbox.tend(at(float(second)))
                retries.append(second)
    assert retries == [1, 3, 7, 15, 31, 63, 123, 183]


@pytest.mark.parametrize(
    "use", ["PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE", "SELECT * FROM alerts"], ids=["writes", "reads"]
)
def test_a_disk_that_was_away_at_the_start_gives_back_what_it_kept(folder: Path, start: Start, use: str) -> None:
    outbox = start()
    outbox.append([alert("old 1"), alert("old 2")], now=at(), memory={"both": "old", "old": "old"})
    outbox.close()
    path = folder / "state.sqlite3"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        for statement in use.split(";"):
            other.execute(statement)
        outbox = start()
        assert "database is locked" in outbox.trouble
        outbox.append([alert("new")], now=at(), memory={"both": "new"})
        assert waiting(outbox) == ["new"]
    outbox.tend(at(1.0))
    assert outbox.trouble == ""
    assert waiting(outbox) == ["new", "old 1", "old 2"]
    again = start()
    assert waiting(again) == ["new", "old 1", "old 2"]
    values = [again.recall(key, now=at()) for key in ("both", "old")]
    assert [value.value for value in values if value is not None] == ["new", "old"]


def test_a_file_that_was_deleted_is_made_anew_with_all_that_is_known(folder: Path, start: Start) -> None:
    outbox = start()
    outbox.append([alert("a"), alert("b")], now=at(), memory={"key": "value"})
    for file in folder.glob("state.sqlite3*"):
        file.unlink()
    with capture_logs() as lines:
        outbox.tend(at(1.0))
    assert [line["event"] for line in lines] == ["state_file_deleted"]
    assert outbox.trouble == ""
    outbox = start()
    assert waiting(outbox) == ["a", "b"]
    assert outbox.recall("key", now=at()) is not None


def test_an_index_that_was_left_behind_is_of_no_account(folder: Path, tmp_path: Path, start: Start) -> None:
    torn = tmp_path / "torn"
    outbox = start()
    outbox.append([alert("a")], now=at())
    shutil.copytree(folder, torn)
    index = torn / "state.sqlite3-shm"
    index.write_bytes(os.urandom(32_768))
    for kept in (["a"], ["a", "b"]):
        with closing(Outbox.open(torn, 1000, at(), boot="boot")) as outbox:
            assert outbox.trouble == ""
            assert waiting(outbox) == kept
            outbox.append([alert("b")], now=at())
    # Another program, which works with an index, finds the same.
    with closing(sqlite3.connect(torn / "state.sqlite3")) as other:
        assert other.execute("SELECT payload FROM alerts").fetchall() == [(b"a",), (b"b",), (b"b",)]


# --- damage --------------------------------------------------------------------------------------


def garbage(path: Path) -> None:
    path.write_bytes(b"This is no database. " * 500)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overwritten(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    path.write_bytes(content)


def of_something_else(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE photos (name TEXT)")


def without_a_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE alerts")


def with_an_unknown_severity(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE alerts SET severity = 'catastrophe' WHERE number = 1")


@pytest.mark.parametrize(
    "damage",
    [garbage, truncated, overwritten, of_something_else, without_a_table, with_an_unknown_severity],
    ids=lambda damage: damage.__name__,
)
def test_a_damaged_file_is_set_aside_and_a_fresh_one_begun(
    folder: Path, start: Start, damage: Callable[[Path], None]
) -> None:
    path = folder / "state.sqlite3"
    outbox = start()
    outbox.append([alert(f"{number} " + "x" * 1000) for number in range(50)], now=at())
    outbox.close()
    damage(path)
    damaged = path.read_bytes()
    with capture_logs() as lines:
        outbox = start()
    aside = folder / "state.sqlite3.damaged-20260701T120000Z"
    assert outbox.set_aside == aside
    assert aside.read_bytes() == damaged
    assert [line["kept_as"] for line in lines if line["event"] == "state_file_damaged"] == [str(aside)]
    assert (len(outbox), outbox.trouble) == (0, "")
    outbox.append([alert("new")], now=at())
    again = start()
    assert waiting(again) == ["new"]
    assert again.set_aside is None


@dataclass(frozen=True)
class Harm:
    """What a dying memory card does to a file."""

    place: float
    """Where in the file, 0..1."""
    bytes_written: bytes
    truncates: bool

    def do(self, path: Path) -> None:
        content = bytearray(path.read_bytes())
        place = int(self.place * len(content))
        content[place : place + len(self.bytes_written)] = self.bytes_written
        path.write_bytes(content[:place] if self.truncates else content)


@given(
    harms=st.lists(st.builds(Harm, st.floats(0, 1), st.binary(min_size=1, max_size=64), st.booleans()), min_size=1),
    name=st.sampled_from(["state.sqlite3", "state.sqlite3-wal"]),
    clean=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_no_damage_keeps_the_outbox_from_opening(
    torn: dict[bool, Path], harms: list[Harm], name: str, clean: bool
) -> None:
    with tempfile.TemporaryDirectory(dir=torn[clean].parent) as home:
        folder = Path(home) / "state"
        shutil.copytree(torn[clean], folder)
        if (folder / name).exists():
            for harm in harms:
                harm.do(folder / name)
        with closing(Outbox.open(folder, 1000, at(), boot="boot")) as outbox:
            outbox.acknowledge([1, 2])
            outbox.append([alert("new")], now=at(), memory={"new": "new"})
            outbox.tend(at(1.0))
            outbox.tend(at(1.0 + RETRY_LIMIT_SECONDS))
            assert outbox.trouble == ""
            kept = waiting(outbox)
        assert kept[-1] == "new"
        with closing(Outbox.open(folder, 1000, at(), boot="boot")) as again:
            assert waiting(again) == kept


@pytest.fixture(scope="module")
def torn() -> Iterator[dict[bool, Path]]:
    """A folder with alerts: closed in an orderly way, or as it is while it is used."""
    with tempfile.TemporaryDirectory(dir=QUICK_DISK if QUICK_DISK.is_dir() else None) as home:
        folders = {clean: Path(home) / str(clean) for clean in (True, False)}
        with closing(Outbox.open(folders[True], 1000, at(), boot="boot")) as outbox:
            for number in range(20):
                outbox.append([alert(f"{number} " + "x" * 300)], now=at(), memory={str(number % 5): "text"})
            shutil.copytree(folders[True], folders[False])
        yield folders


def test_two_damaged_files_are_both_kept(folder: Path, start: Start) -> None:
    for content in (b"first" * 1000, b"second" * 1000):
        start().close()
        (folder / "state.sqlite3").write_bytes(content)
        start().close()
    kept = {path.read_bytes()[:5] for path in folder.glob("state.sqlite3.damaged-*")}
    assert kept == {b"first", b"secon"}


@pytest.mark.parametrize("damaged", [("",), ("-wal",), ("", "-wal")], ids=["file", "log", "both"])
def test_damage_while_running_costs_nothing(folder: Path, start: Start, damaged: tuple[str, ...]) -> None:
    outbox = start()
    outbox.append([alert("a"), alert("b")], now=at(), memory={"key": "value"})
    # Under the open connection.
    for ending in damaged:
        path = folder / f"state.sqlite3{ending}"
        with path.open("r+b") as file:
            file.write(os.urandom(path.stat().st_size))
    outbox.append([alert("c")], now=at())
    outbox.tend(at(1.0))
    outbox.append([alert("d")], now=at(2.0))
    outbox.tend(at(100.0))
    assert outbox.trouble == ""
    assert waiting(outbox) == ["a", "b", "c", "d"]
    outbox = start()
    assert waiting(outbox) == ["a", "b", "c", "d"]
    assert outbox.recall("key", now=at()) is not None


# --- versions ------------------------------------------------------------------------------------


def test_a_newer_version_is_refused(folder: Path, start: Start) -> None:
    start().close()
    path = folder / "state.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 7")
    with pytest.raises(StorageError) as refusal:
        start()
    assert str(refusal.value) == (
        f"{path} is of version 7, and this vire-edge knows versions up to {len(STEPS)}; "
        "install the newer vire-edge again, or move the file away"
    )
    assert list(folder.glob("*damaged*")) == []
    assert user_version(path) == 7


def test_an_older_version_is_migrated_after_a_copy_was_made(folder: Path, start: Start) -> None:
    outbox = start()
    outbox.append([alert("a")], now=at(), memory={"key": "value"})
    outbox.close()
    path = folder / "state.sqlite3"
    steps = (*STEPS, "ALTER TABLE memory ADD COLUMN author TEXT; CREATE TABLE history (minute INTEGER);")
    opened = open_database(path, now=Clock.read("boot", at()), steps=steps)
    opened.database.close()
    assert [queued.message.payload for queued in opened.contents.alerts] == [b"a"]
    assert list(opened.contents.memory) == ["key"]
    assert user_version(path) == len(STEPS) + 1
    copy = folder / f"state.sqlite3.version-{len(STEPS)}-20260701T120000Z"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert user_version(copy) == len(STEPS)
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT payload FROM alerts").fetchall() == [(b"a",)]


def test_a_migration_that_fails_leaves_the_older_version_as_it_was(folder: Path, start: Start) -> None:
    outbox = start()
    outbox.append([alert("a")], now=at())
    outbox.close()
    steps = (*STEPS, "CREATE TABLE history (minute INTEGER); CREATE TABLE history (minute INTEGER);")
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        open_database(folder / "state.sqlite3", now=Clock.read("boot", at()), steps=steps)
    assert user_version(folder / "state.sqlite3") == len(STEPS)
    assert waiting(start()) == ["a"]


# --- folder and processes --------------------------------------------------------------------------


def test_folder_and_files_are_for_the_owner_alone(folder: Path, start: Start) -> None:
    before = os.umask(0)
    try:
        start().append([alert("a")], now=at())
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    # No index of the log among them: it would be mapped into memory, and a disk without room for it ends the process.
    names = ("state.lock", "state.sqlite3", "state.sqlite3-wal")
    assert modes == dict.fromkeys(names, 0o600)


def test_a_folder_that_is_open_to_others_is_closed(folder: Path, start: Start) -> None:
    start().close()
    folder.chmod(0o755)
    (folder / "state.sqlite3").chmod(0o644)
    with capture_logs() as lines:
        start()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "state.sqlite3").stat().st_mode) == 0o600
    assert [line["event"] for line in lines] == ["state_folder_closed_to_others", "state_file_closed_to_others"]


def test_a_folder_that_others_use_is_not_taken_from_them(folder: Path, start: Start) -> None:
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    (folder / "photo.jpg").touch()
    with pytest.raises(StorageError) as refusal:
        start()
    assert str(refusal.value) == (
        f"{folder} is open to others (mode 0755) and holds other files; "
        f"name a folder of its own, or close it: chmod 700 {folder}"
    )
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_a_file_in_the_folder_s_place_is_named(folder: Path, start: Start) -> None:
    folder.touch()
    with pytest.raises(StorageError, match=f"{folder} is no folder; name another one"):
        start()


def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    script = """
    from vire_edge.errors import StorageError
    Outbox.open(None, 10, at(0)).close()
    if os.geteuid() == 0:
        os.setuid(65534)  # nobody; root may write everywhere
    try:
        Outbox.open(folder / "locked" / "state", 10, at(0))
    except StorageError as error:
        print(error)
    """
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o700)
    locked.chmod(0o500)
    try:
        lines = run(script, tmp_path)
    finally:
        locked.chmod(0o700)
    assert len(lines) == 1
    assert lines[0] == (
        f"{locked / 'state'} cannot be reached or made (Permission denied); "
        "set state_dir to a folder that the daemon's user may write"
    )


def test_a_second_process_is_refused_until_the_first_has_ended(folder: Path, start: Start) -> None:
    script = """
    outbox = Outbox.open(folder, 10, at(0))
    print("open", flush=True)
    sys.stdin.read()
    """
    with subprocess.Popen(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(script), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(StorageError) as refusal:
            start()
        assert str(refusal.value) == (
            f"{folder} is used by another vire-edge, and each alert would be sent twice; "
            "stop it, or give this one a state folder of its own"
        )
        other.kill()
    wait_until(lambda: other.poll() is not None, what="the end of the other process")
    assert waiting(start()) == []
