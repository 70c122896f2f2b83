"""The Debian package: what is in it, and its whole life on a system of its own: installed, run, removed, purged."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from brokers import MosquittoFactory
from daemons import DEVICE, Listener
from packaging.requirements import Requirement

import vire_edge

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
DEBIAN = DEPLOY / "debian"
PROGRAM = "/opt/vire-edge/venv/bin/vire-edge"
SITE = "./opt/vire-edge/venv/lib/python3.11/site-packages"
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")

pytestmark = [
    pytest.mark.timeout(400),  # two busy cores compile and pack 300 MB
    pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is missing: this is no Debian"),
    pytest.mark.skipif(not Path("/usr/bin/python3.11").exists(), reason="the package is for Debian 12's Python 3.11"),
]


def run(*command: str | Path, **environ: str) -> str:
    finished = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environ}, stdin=subprocess.DEVNULL, check=False
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the one command. Python packages come from the index, or from an earlier build."""
    out = tmp_path_factory.mktemp("package")
    # What builds the wheel comes from the environment of the tests; pip negates this variable: 0 turns isolation off.
    offline_build = {"PYTHONPATH": sysconfig.get_path("purelib"), "PIP_NO_BUILD_ISOLATION": "0"}
    run("bash", DEPLOY / "build-deb.sh", "--fast", "--out", out, **offline_build)
    (built,) = out.iterdir()
    return built


# --- as text ----------------------------------------------------------------------------------


def test_shellcheck_finds_nothing_in_the_maintainer_scripts() -> None:
    run("shellcheck", *(DEBIAN / name for name in SCRIPTS))


def test_the_pins_are_within_what_the_program_asks_for() -> None:
    pins = dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", (DEBIAN / "requirements.txt").read_text(), flags=re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in map(Requirement, project["dependencies"]):
        name = requirement.name.replace("opencv-python", "opencv-python-headless")
        assert requirement.specifier.contains(pins[name]), f"{requirement}, but {pins[name]}: build-deb.sh --pin"


# --- what is in it ----------------------------------------------------------------------------


def test_it_says_what_it_is_and_needs(package: Path) -> None:
    fields = dict(re.findall(r"^(\S+): (.*)", run("dpkg-deb", "--field", package), flags=re.MULTILINE))
    assert fields["Version"] == vire_edge.__version__
    assert fields["Architecture"] == run("dpkg", "--print-architecture").strip()
    assert "python3 (>= 3.11), python3 (<< 3.12)" in fields["Depends"]
    assert run("dpkg-deb", "--info", package, "conffiles") == "/etc/vire-edge/config.toml\n"


def test_its_files_belong_to_root_and_only_root_may_write_them(package: Path) -> None:
    modes = {}
    for line in run("dpkg-deb", "--contents", package).splitlines():
        mode, owner, _, _, _, path = line.split(maxsplit=5)
        assert owner == "root/root", line
        assert mode[0] == "l" or (mode[5], mode[8]) == ("-", "-"), line
        modes[path.partition(" -> ")[0]] = mode
    assert modes["./etc/vire-edge/config.toml"] == "-rw-r-----"
    assert modes[f".{PROGRAM}"] == "-rwxr-xr-x"
    for path in (
        "./lib/systemd/system/vire-edge.service",
        "./lib/udev/rules.d/70-vire-edge.rules",
        "./usr/lib/modules-load.d/vire-edge.conf",
        f"{SITE}/vire_edge/models/vire.onnx",
        f"{SITE}/vire_edge/__pycache__/__init__.cpython-311.pyc",
    ):
        assert modes[path] == "-rw-r--r--"
    assert not [path for path in modes if path.endswith(("/RECORD", "/direct_url.json"))]


def test_nothing_in_it_tells_where_it_was_built(package: Path, tmp_path: Path) -> None:
    run("dpkg-deb", "--raw-extract", package, tmp_path / "tree")
    places = (f"{ROOT}/", sysconfig.get_path("purelib"), f"{tempfile.gettempdir()}/tmp.")  # the last: mktemp's
    patterns = [argument for place in places for argument in ("-e", place)]
    kinds = ("*.py*", "*.cfg", "METADATA", "vire-edge*")
    # The libraries of others tell where they were built themselves.
    found = subprocess.run(
        ["grep", "-rlF", *(f"--include={kind}" for kind in kinds), *patterns, str(tmp_path / "tree")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == ""


# --- its life ---------------------------------------------------------------------------------

MAKE_SYSTEM = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount -t proc proc "$1/root/proc"
mount --rbind /dev "$1/root/dev"
mount -t tmpfs tmpfs "$1/root/run"
mount -t tmpfs tmpfs "$1/root/tmp"
cp "$2" "$1/root/tmp/package.deb"
echo ready
read -r _
"""
"""This machine's files, seen through a layer that takes every change and is gone with the shell that waits here."""


OWN_RECORDS = re.compile(
    r"/var/(lib/dpkg|log|cache)/.*|/etc/(passwd|group|shadow|gshadow|subuid|subgid)-?|/etc/\.pwd\.lock"
)


class System:
    """A system like this machine, on which nothing that is done reaches the machine itself."""

    def __init__(self, pid: int, folder: Path) -> None:
        self._enter = ("nsenter", "--target", str(pid), "--mount")
        self._folder = folder
        self.inside = (*self._enter, "chroot", str(folder / "root"))

    def run(self, *command: str) -> str:
        return run(*self.inside, *command, LC_ALL="C.UTF-8", DEBIAN_FRONTEND="noninteractive")

    def changes(self) -> set[str]:
        """What is other than on this machine, without what dpkg and the account tools keep."""
        found = run(*self._enter, "find", str(self._folder / "upper"), "-mindepth", "1", "-printf", "%y /%P\n")
        entries = {path: kind for kind, path in (line.split(" ", 1) for line in found.splitlines())}
        touched = {path for path, kind in entries.items() if kind == "d" and Path(path).is_dir()}
        return {path for path in entries.keys() - touched if not OWN_RECORDS.fullmatch(path)}


@pytest.fixture
def system(package: Path, tmp_path: Path) -> Iterator[System]:
    if os.geteuid() != 0:
        pytest.skip("only root can make a system to install on")
    with subprocess.Popen(
        ["unshare", "--mount", "bash", "-c", MAKE_SYSTEM, "bash", tmp_path, package],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as shell:
        assert shell.stdin is not None
        assert shell.stdout is not None
        assert shell.stderr is not None
        if shell.stdout.readline() != "ready\n":
            pytest.skip(f"this machine lets root make no system to install on: {shell.stderr.read().strip()}")
        yield System(shell.pid, tmp_path)
        shell.stdin.close()


def test_installed_it_runs_and_purged_it_leaves_nothing(system: System, start_mosquitto: MosquittoFactory) -> None:
    system.run("dpkg", "--install", "/tmp/package.deb")
    assert system.run("dpkg-query", "--show", "--showformat=${db:Status-Status}", "vire-edge") == "installed"
    assert system.run("dpkg", "--verify", "vire-edge") == ""
    assert system.run("stat", "--format=%a %U %G", "/etc/vire-edge/config.toml") == "640 root vire-edge\n"
    assert system.run("id", "-nG", "vire-edge").split() == ["vire-edge", "video"]
    wanted = "/etc/systemd/system/multi-user.target.wants/vire-edge.service"
    assert system.run("readlink", wanted) == "/lib/systemd/system/vire-edge.service\n"

    as_service = ("setpriv", "--reuid=vire-edge", "--regid=vire-edge", "--init-groups", "env", "-i")
    assert system.run(*as_service, "vire-edge", "--version") == f"vire-edge {vire_edge.__version__}\n"
    system.run(*as_service, PROGRAM, "check-config", "/etc/vire-edge/config.toml")
    where = system.run(
        *as_service, "/opt/vire-edge/venv/bin/python3", "-c", "import cv2, sys; print(cv2.__file__, sys.flags)"
    )
    assert where.startswith("/opt/vire-edge/venv/lib/python3.11/site-packages/cv2/")

    broker = start_mosquitto("allow_anonymous true")
    system.run("install", "-d", "-o", "vire-edge", "-m", "0700", "/var/lib/vire-edge")
    settings = {
        "DEVICE_ID": DEVICE,
        "STATE_DIR": "/var/lib/vire-edge",
        "MQTT__HOST": "127.0.0.1",
        "MQTT__PORT": str(broker.port),
    }
    environment = [f"VIRE_EDGE_{key}={value}" for key, value in settings.items()]
    with (
        Listener(broker.config()) as listener,
        subprocess.Popen(
            [*system.inside, *as_service, *environment, PROGRAM, "run", "--source", "synthetic"]
        ) as daemon,
    ):
        try:
            listener.wait_for("state/camera", lambda payload: payload["people"])
        finally:
            daemon.terminate()
        assert daemon.wait(20) == 0
    assert system.run("dpkg", "--verify", "vire-edge") == ""

    system.run("sh", "-c", "echo 'device_id = \"hall\"' > /etc/vire-edge/config.toml")
    system.run("dpkg", "--install", "--force-confdef", "--force-confold", "/tmp/package.deb")
    assert system.run("cat", "/etc/vire-edge/config.toml") == 'device_id = "hall"\n'
    assert system.run("stat", "--format=%a %U %G", "/etc/vire-edge/config.toml") == "640 root vire-edge\n"

    system.run("dpkg", "--remove", "vire-edge")
    assert system.run("cat", "/etc/vire-edge/config.toml") == 'device_id = "hall"\n'
    system.run("test", "-d", "/var/lib/vire-edge")
    system.run("sh", "-c", "! test -e /opt/vire-edge && ! test -e /usr/bin/vire-edge")

    system.run("dpkg", "--purge", "vire-edge")
    assert system.changes() == set()
    assert "vire-edge" not in system.run("cat", "/etc/passwd", "/etc/group")


def test_it_does_not_mix_with_an_installation_from_a_checkout(system: System) -> None:
    system.run("mkdir", "-p", "/opt/vire-edge/venv-1")
    system.run("ln", "-s", "venv-1", "/opt/vire-edge/venv")
    refusal = subprocess.run(
        [*system.inside, "dpkg", "--install", "/tmp/package.deb"], capture_output=True, text=True, check=False
    )
    assert refusal.returncode != 0
    assert "deploy/install.sh --uninstall" in refusal.stderr
    assert system.changes() == {"/opt/vire-edge", "/opt/vire-edge/venv-1", "/opt/vire-edge/venv"}
