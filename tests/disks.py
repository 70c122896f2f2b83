"""A small disk of its own, which a test fills, breaks and replaces: a real file system in a file."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

DISK_BYTES = 8 * 2**20


class Disk:
    """An ext4 file system, mounted at `at`. Needs root and loop devices."""

    def __init__(self, folder: Path) -> None:
        """Make it and mount it.

        Args:
            folder: where the images and the mount point lie.
        """
        self.at = folder / "disk"
        self.at.mkdir()
        self._folder = folder
        self._images = 0
        self._mount()

    @property
    def state(self) -> Path:
        """The daemon's state folder on it."""
        return self.at / "state"

    def fill(self) -> None:
        """Leave not a byte."""
        with (self.at / "ballast").open("wb", buffering=0) as ballast:
            for size in (65_536, 1024, 1):
                with contextlib.suppress(OSError):
                    while ballast.write(b"\0" * size) == size:
                        pass

    def make_room(self) -> None:
        """Take away what filled it."""
        (self.at / "ballast").unlink()

    def write_protect(self) -> None:
        """Allow no writing; possible while nobody has a file open for writing."""
        _run("mount", "-o", "remount,ro", str(self.at))

    def allow_writing(self) -> None:
        """Allow it again."""
        _run("mount", "-o", "remount,rw", str(self.at))

    def wear_out(self) -> None:
        """Turn read-only at once and for good, as the kernel does it with a card that fails."""
        _run("mount", "-o", "remount,abort", str(self.at))

    def replace(self) -> None:
        """Put a new and empty one in its place."""
        self.unmount()
        self._mount()

    def unmount(self) -> None:
        """Take it away, in use or not."""
        _run("umount", "--lazy", str(self.at))

    def _mount(self) -> None:
        self._images += 1
        image = self._folder / f"disk-{self._images}.img"
        with image.open("wb") as file:
            file.truncate(DISK_BYTES)
        _run("mke2fs", "-q", "-t", "ext4", "-m", "0", str(image))
        _run("mount", "-o", "loop", str(image), str(self.at))
        self.state.mkdir(mode=0o700)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"PATH": SYSTEM_PATH})


SYSTEM_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"

DiskFactory = Callable[[], Disk]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk of the test's own."""
    if os.geteuid() != 0 or shutil.which("mke2fs", path=SYSTEM_PATH) is None:
        pytest.skip("only root may mount a disk, and needs mke2fs")
    try:
        made = Disk(tmp_path)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this machine mounts no disk of a test's own: {error.stderr.decode().strip()}")
    yield made
    made.unmount()
