"""The scripts and examples in deploy/: what they say when something is missing, and what they leave behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

import vire_edge
from vire_edge.config import Config, example_toml, load_config

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
SCRIPTS = [*sorted(DEPLOY.glob("*.sh")), ROOT / ".ci" / "run"]
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
    """A copy of what the scripts need, so that they leave nothing in the real one."""
    copy = tmp_path / "checkout"
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


def test_the_installer_places_a_copy_keeps_the_configuration_and_removes_itself(checkout: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    install = ("bash", checkout / "deploy" / "install.sh", "--root", root)
    finished = run(*install, **OFFLINE)
    assert finished.returncode == 0, finished.stdout + finished.stderr

    program = root / "opt" / "vire-edge" / "venv" / "bin" / "vire-edge"
    config = root / "etc" / "vire-edge" / "config.toml"
    unit = root / "etc" / "systemd" / "system" / "vire-edge.service"
    assert (root / "usr" / "local" / "bin" / "vire-edge").resolve() == program.resolve()
    assert config.stat().st_mode & 0o777 == 0o640
    assert unit.read_text() == (ROOT / "systemd" / "vire-edge.service").read_text()

    shutil.rmtree(checkout / "vire_edge")  # a copy, not a link into the checkout
    version = run(program, "--version", PYTHONPATH=OFFLINE["PYTHONPATH"])
    assert version.stdout.strip() == f"vire-edge {vire_edge.__version__}", version.stderr

    config.write_text('device_id = "hall"\n')
    removed = run(*install, "--uninstall")
    assert removed.returncode == 0, removed.stderr
    assert not program.exists()
    assert not unit.exists()
    assert tomllib.loads(config.read_text()) == {"device_id": "hall"}
    assert run(*install, "--uninstall", "--purge").returncode == 0
    assert not config.exists()
