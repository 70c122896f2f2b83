"""The scripts and examples in deploy/: what they say when something is missing, and what they leave behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

import vire_edge
from vire_edge.config import Config, example_toml, load_config

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
SCRIPTS = [*sorted(DEPLOY.glob("*.sh")), ROOT / ".ci" / "run"]
EXPLAINED = ("build-deb.sh", "fault.sh", "install.sh", "mosquitto/make-certificates.sh")
COREUTILS = ("bash", "cat", "dirname", "env", "mkdir", "rm", "sed", "sha256sum", "tail", "tee", "uname")

Finished = subprocess.CompletedProcess[str]


def run(*command: str | Path, **environ: str) -> Finished:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={"HOME": "/nonexistent", "PATH": os.environ["PATH"], **environ},
        stdin=subprocess.DEVNULL,
        timeout=100,
        check=False,
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return copy_checkout(tmp_path / "checkout")


def copy_checkout(copy: Path) -> Path:
    """Copy what the scripts need, so that they leave nothing in the real one."""
    for name in ("deploy", "systemd", "vire_edge", "models"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture
def bare_system(tmp_path: Path) -> Path:
    """A PATH with the usual commands, but no Python and no apt-get."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in COREUTILS:
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    return folder


def put_python(folder: Path, script: str) -> None:
    """Make a `python3` that is a shell script."""
    python = folder / "python3"
    python.write_text(f"#!{shutil.which('bash')}\n{script}\n")
    python.chmod(0o755)


# --- as text ----------------------------------------------------------------------------------


def test_shellcheck_finds_nothing() -> None:
    program = shutil.which("shellcheck")
    assert program is not None, "shellcheck is missing: apt install shellcheck"
    finished = run(program, "--external-sources", "--source-path", ROOT, *SCRIPTS)
    assert finished.returncode == 0, finished.stdout


def test_every_script_can_be_run_and_the_shared_part_cannot() -> None:
    runnable = {script.name for script in SCRIPTS if os.access(script, os.X_OK)}
    assert runnable == {script.name for script in SCRIPTS} - {"common.sh"}


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("script", EXPLAINED)
def test_a_script_explains_itself(script: str, option: str) -> None:
    finished = run("bash", DEPLOY / script, option)
    assert (finished.returncode, finished.stderr) == (0, "")
    head = (DEPLOY / script).read_text(encoding="utf-8").partition("\nset -euo pipefail")[0].splitlines()[1:]
    assert finished.stdout.splitlines() == [line.removeprefix("#").removeprefix(" ") for line in head]


# --- examples ---------------------------------------------------------------------------------


def test_the_example_file_is_made_from_the_settings() -> None:
    path = DEPLOY / "config.example.toml"
    assert path.read_text(encoding="utf-8") == example_toml(), f"vire-edge check-config --example > {path}"


def test_the_example_file_changes_no_default() -> None:
    assert load_config(DEPLOY / "config.example.toml", environ={}) == Config()


# --- what is missing --------------------------------------------------------------------------


def test_without_python_one_line_says_what_to_install(checkout: Path, bare_system: Path) -> None:
    finished = run("bash", checkout / "deploy" / "quickstart.sh", PATH=str(bare_system))
    assert finished.returncode == 1
    assert "Python 3.11 or newer is needed" in finished.stderr
    assert "apt-get install python3" in finished.stderr


def test_an_old_python_is_named(checkout: Path, bare_system: Path) -> None:
    put_python(bare_system, 'if [[ $1 == --version ]]; then echo "Python 3.9.2"; else exit 1; fi')
    finished = run("bash", checkout / "deploy" / "quickstart.sh", PATH=str(bare_system))
    assert finished.returncode == 1
    assert "this system has Python 3.9.2" in finished.stderr


@pytest.mark.parametrize("script", ["quickstart.sh", "test.sh"])
def test_a_32_bit_system_is_refused_before_anything_is_made(checkout: Path, bare_system: Path, script: str) -> None:
    put_python(bare_system, 'case "$2" in *maxsize*) exit 1 ;; esac')
    finished = run("bash", checkout / "deploy" / script, PATH=str(bare_system))
    assert finished.returncode == 1
    assert "32-bit" in finished.stderr
    assert not (checkout / ".venv").exists()


def test_missing_system_packages_are_named_all_at_once(checkout: Path, bare_system: Path) -> None:
    put_python(
        bare_system,
        'case "$2" in *ensurepip*|*ctypes*) exit 1 ;; *"-venv"*) echo python3.11-venv ;; esac',
    )
    finished = run("bash", checkout / "deploy" / "quickstart.sh", PATH=str(bare_system))
    assert finished.returncode == 1
    assert "python3.11-venv libgl1 libglib2.0-0" in finished.stderr
    assert not (checkout / ".venv").exists()


def test_the_installer_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    for arguments in (("--nonsense",), ("--purge",), ("--root", str(tmp_path / "none"))):
        finished = run("bash", DEPLOY / "install.sh", *arguments)
        assert finished.returncode == 1
        assert arguments[0] in finished.stderr


# --- what they leave behind -------------------------------------------------------------------

# What the program and its build need comes from the environment of the tests, not from the network.
# pip negates this variable: 0 turns the isolation off.
OFFLINE = {"PYTHONPATH": sysconfig.get_path("purelib"), "PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_INDEX": "1"}


@pytest.fixture
def offline(tmp_path: Path) -> dict[str, str]:
    """The same without the tests' own vire_edge, which pip would take for the installed one."""
    packages = tmp_path / "packages"
    packages.mkdir()
    for package in Path(OFFLINE["PYTHONPATH"]).iterdir():
        if "vire_edge" not in package.name:
            (packages / package.name).symlink_to(package)
    return OFFLINE | {"PYTHONPATH": str(packages)}


def test_quickstart_installs_once_and_hands_its_arguments_to_the_demo(checkout: Path, offline: dict[str, str]) -> None:
    environ = offline | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    first = run("bash", checkout / "deploy" / "quickstart.sh", "--help", **environ)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "Installing vire-edge" in first.stdout
    assert "Usage: vire-edge demo" in first.stdout
    again = run("bash", checkout / "deploy" / "quickstart.sh", "--help", **environ)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Installing" not in again.stdout

    # What somebody types who wants to train: it puts a copy in the place of the link to the checkout.
    replaced = run(checkout / ".venv" / "bin" / "python", "-m", "pip", "install", "--no-deps", checkout, **environ)
    assert replaced.returncode == 0, replaced.stderr
    assert "/site-packages/" in code_that_runs(checkout)
    repaired = run("bash", checkout / "deploy" / "quickstart.sh", "--help", **environ)
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    assert "Installing vire-edge" in repaired.stdout
    assert code_that_runs(checkout) == str(checkout / "vire_edge" / "__init__.py")


def code_that_runs(checkout: Path) -> str:
    ask = ("-I", "-c", "import vire_edge; print(vire_edge.__file__)")
    return run(checkout / ".venv" / "bin" / "python", *ask).stdout.strip()


NEWER = "98.7"


@dataclass
class Installation:
    """What install.sh makes of a checkout, under a folder that plays the system."""

    checkout: Path
    root: Path
    environ: dict[str, str]

    def install(self, *options: str) -> Finished:
        return run("bash", self.checkout / "deploy" / "install.sh", "--root", self.root, *options, **self.environ)

    def upgrade(self, *, dependency: str | None = None) -> Finished:
        """Install what is a newer version for as long as this takes."""
        changes = [
            ("vire_edge/__init__.py", f'"{vire_edge.__version__}"', f'"{NEWER}"'),
            ("systemd/vire-edge.service", "TimeoutStopSec=", "TimeoutStopSec=1"),
        ]
        if dependency is not None:
            changes.append(("pyproject.toml", "\ndependencies = [", f'\ndependencies = ["{dependency}",'))
        texts = {name: (self.checkout / name).read_text() for name, _, _ in changes}
        for name, before, after in changes:
            assert texts[name].count(before) == 1
            (self.checkout / name).write_text(texts[name].replace(before, after))
        finished = self.install()
        for name, text in texts.items():
            (self.checkout / name).write_text(text)
        return finished

    def version(self) -> str:
        shown = run(self.python, "-P", "-m", "vire_edge", "--version", **self.environ)
        return shown.stdout.strip().removeprefix("vire-edge ") or shown.stderr

    def files(self) -> dict[str, tuple[int, int]]:
        """What is there, and what would show that it was written again."""
        paths = (path for path in self.root.rglob("*") if path.name != "__pycache__" and path.suffix != ".pyc")
        return {str(path): (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in paths if not path.is_dir()}

    @property
    def program(self) -> Path:
        return self.root / "opt" / "vire-edge" / "venv" / "bin" / "vire-edge"

    @property
    def python(self) -> Path:
        return self.program.with_name("python")

    @property
    def config(self) -> Path:
        return self.root / "etc" / "vire-edge" / "config.toml"

    @property
    def unit(self) -> Path:
        return self.root / "etc" / "systemd" / "system" / "vire-edge.service"

    @property
    def filter(self) -> Path:
        return self.unit.with_name("vire-edge.service.d") / "address-filter.conf"

    @property
    def environments(self) -> list[str]:
        return [path.name for path in self.root.glob("opt/vire-edge/venv-*")]


def install_afresh(folder: Path) -> Installation:
    root = folder / "root"
    root.mkdir()
    made = Installation(copy_checkout(folder / "checkout"), root, OFFLINE)
    finished = made.install()
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return made


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """For tests that leave it as they find it."""
    return install_afresh(tmp_path_factory.mktemp("installation"))


def test_the_installer_places_a_copy_and_what_the_system_needs(installation: Installation) -> None:
    system = installation.root / "etc"
    assert installation.config.stat().st_mode & 0o777 == 0o640
    for installed, source in (
        (installation.unit, "vire-edge.service"),
        (system / "udev" / "rules.d" / "70-vire-edge.rules", "70-vire-edge.rules"),
        (system / "modules-load.d" / "vire-edge.conf", "modules-load.conf"),
    ):
        assert installed.read_text() == (ROOT / "systemd" / source).read_text()
        assert installed.stat().st_mode & 0o777 == 0o644
    assert installation.version() == vire_edge.__version__
    ask = ("-I", "-c", "import vire_edge; print(vire_edge.__file__)")
    code = Path(run(installation.python, *ask).stdout.strip())
    assert installation.program.parents[1] in code.parents  # a copy, not a link into the checkout


def test_what_is_placed_under_a_folder_works_once_that_is_the_root(installation: Installation) -> None:
    link = installation.root / "usr" / "local" / "bin" / "vire-edge"
    assert link.readlink() == Path("/opt/vire-edge/venv/bin/vire-edge")
    (environment,) = installation.environments
    interpreter = Path(f"/opt/vire-edge/{environment}/bin/python3")
    text = installation.program.read_text()
    assert str(interpreter.parent) in text
    assert str(installation.root) not in text


def test_a_second_run_of_the_installer_changes_nothing(installation: Installation) -> None:
    before = installation.files()
    again = installation.install()
    assert again.returncode == 0, again.stderr
    assert "up to date" in again.stdout
    assert installation.files() == before


def test_an_upgrade_that_fails_leaves_the_old_version_as_it_was(installation: Installation) -> None:
    before = installation.files()
    failed = installation.upgrade(dependency="no-such-package-anywhere>=99")
    assert failed.returncode == 1
    assert "no-such-package-anywhere" in failed.stderr
    assert "pip could not install" in failed.stderr
    after = installation.files()
    log = str(installation.root / "opt" / "vire-edge" / "install.log")
    assert after.pop(log) != before.pop(log)
    assert after == before
    assert installation.version() == vire_edge.__version__


def test_the_address_filter_follows_the_configuration(installation: Installation) -> None:
    example = installation.config.read_text()
    assert not installation.filter.exists()  # the broker is not known yet
    installation.config.write_text('[mqtt]\nhost = "192.0.2.7"\n')
    assert installation.install().returncode == 0
    assert "IPAddressAllow=localhost 192.0.2.7\n" in installation.filter.read_text()
    installation.config.write_text(example)
    assert installation.install().returncode == 0
    assert not installation.filter.exists()


@pytest.mark.timeout(360)  # three installations, 11 s each on two idle cores, five times that on busy ones
def test_an_upgrade_keeps_what_is_the_users_and_so_does_uninstalling_until_it_is_purged(tmp_path: Path) -> None:
    installation = install_afresh(tmp_path)
    state = installation.root / "var" / "lib" / "vire-edge" / "state.sqlite3"
    own = installation.filter.with_name("own.conf")
    for path in (state, own):
        path.parent.mkdir(parents=True)
        path.write_text("mine")
    installation.config.chmod(0o644)  # somebody was careless
    installation.config.write_text('[mqtt]\nhosst = "192.0.2.7"\n')

    refused = installation.upgrade()
    assert refused.returncode == 1
    assert "mqtt.hosst is not a setting" in refused.stderr
    assert installation.version() == vire_edge.__version__
    assert installation.unit.read_text() == (ROOT / "systemd" / "vire-edge.service").read_text()
    assert len(installation.environments) == 1

    installation.config.write_text('[mqtt]\nhost = "192.0.2.7"\n')
    upgraded = installation.upgrade()
    assert upgraded.returncode == 0, upgraded.stderr
    assert installation.version() == NEWER
    assert installation.unit.read_text() != (ROOT / "systemd" / "vire-edge.service").read_text()
    assert len(installation.environments) == 1
    assert tomllib.loads(installation.config.read_text()) == {"mqtt": {"host": "192.0.2.7"}}
    assert installation.config.stat().st_mode & 0o777 == 0o640

    removed = installation.install("--uninstall")
    assert removed.returncode == 0, removed.stderr
    etc, kept = installation.config.parent, state.parent
    assert f"Still there: the configuration ({etc}), the state ({kept});" in removed.stdout
    assert {Path(path) for path in installation.files()} == {installation.config, state, own}
    assert state.read_text() == own.read_text() == "mine"
    assert installation.install("--uninstall").returncode == 0  # a second time is no error
    purged = installation.install("--uninstall", "--purge")
    assert purged.returncode == 0
    assert purged.stdout.splitlines()[1:] == [f"==> Removed the configuration ({etc}), the state ({kept})"]
    assert installation.files() == {}
    nothing_left = installation.install("--uninstall")
    assert nothing_left.stdout.splitlines() == ["==> Removed the program and its service"]
