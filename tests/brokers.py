"""Real brokers for tests: Mosquitto on a free port, with what a test wants of it, and a wire that can be cut."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme

from vire_edge.config import MqttConfig

PATIENCE_SECONDS = 20.0
"""How long a test waits for what must happen; two busy cores are slow at times."""


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], object], *, what: str, timeout_seconds: float = PATIENCE_SECONDS) -> None:
    """Look until something is true; the test fails when it does not become so."""
    tick = threading.Event()
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {timeout_seconds:.0f} s in vain: {what}")
        tick.wait(0.01)


@dataclass
class Mosquitto:
    """A real broker. Starting it again keeps the port; what it knew is gone unless `persistence true` is in `lines`."""

    folder: Path
    lines: tuple[str, ...] = ("allow_anonymous true",)
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> Mosquitto:
        """Listen; returns once it does."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "mosquitto.conf"
        # As root it would otherwise change to a user that cannot read the test's folder.
        user = ("user root",) if os.geteuid() == 0 else ()
        config.write_text(
            "\n".join((f"listener {self.port} 127.0.0.1", *user, *self.lines, "log_type all", "log_dest stderr")) + "\n"
        )
        program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        assert program is not None, "Mosquitto is missing: apt install mosquitto"
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen([program, "-c", config], stdout=log, stderr=log)
        wait_until(self._listens, what=f"mosquitto listens; its log: {self.log_file}")
        return self

    def stop(self) -> None:
        """Shut down in an orderly way; a second time does nothing."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Die at once."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Keep every connection and answer nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on."""
        self._signal(signal.SIGCONT)

    def config(self, **settings: object) -> MqttConfig:
        """Settings that reach it."""
        return MqttConfig.model_validate({"host": "127.0.0.1", "port": self.port, **settings})

    @property
    def log_file(self) -> Path:
        """What it wrote."""
        return self.folder / "mosquitto.log"

    @property
    def log(self) -> str:
        """What it wrote so far."""
        return self.log_file.read_text(errors="replace")

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"mosquitto ended: {self.log}"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0):
            return True
        return False

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        self._process.send_signal(signal.SIGCONT)
        self._process.wait(10)
        self._process = None


class Wire:
    """A TCP connection to a broker that can be cut, slowed to a halt, or be picky about MQTT 5."""

    def __init__(self, target_port: int, *, on_mqtt_5: str = "pass") -> None:
        """Listen on a free port.

        Args:
            target_port: where the broker listens.
            on_mqtt_5: "pass", or what an old broker does with a CONNECT of MQTT 5: "close" or "silence".
        """
        self.port = free_port()
        self.connections = 0
        self._target_port = target_port
        self._on_mqtt_5 = on_mqtt_5
        self._stopping = threading.Event()
        self._flows = threading.Event()
        self._flows.set()
        self._open: list[socket.socket] = []
        self._clients: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._listener.settimeout(0.1)
        self._spawn(self._accept)

    def cut(self) -> None:
        """Break every connection, without a word."""
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def say(self, packet: bytes) -> None:
        """Send this to every client, as if the broker had."""
        for client in self._clients:
            client.sendall(packet)

    def stall(self) -> None:
        """Let nothing through, and break nothing."""
        self._flows.clear()

    def resume(self) -> None:
        """Let everything through again."""
        self._flows.set()

    def close(self) -> None:
        """Take the wire away."""
        self._stopping.set()
        self._flows.set()
        self.cut()
        for thread in self._threads:
            thread.join(5)
        for one in (*self._open, self._listener):
            one.close()

    def _spawn(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, name="wire", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            self.connections += 1
            client.settimeout(0.1)
            self._open.append(client)
            self._clients.append(client)
            self._spawn(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        first = self._read(client)
        if not first:
            return
        if self._on_mqtt_5 != "pass" and b"\x00\x04MQTT\x05" in first:
            if self._on_mqtt_5 == "close":
                client.shutdown(socket.SHUT_RDWR)
            return
        try:
            broker = socket.create_connection(("127.0.0.1", self._target_port), 5.0)
        except OSError:
            client.shutdown(socket.SHUT_RDWR)
            return
        broker.settimeout(0.1)
        self._open.append(broker)
        broker.sendall(first)
        self._spawn(self._carry, broker, client)
        self._carry(client, broker)

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := self._read(source):
                self._flows.wait()
                self._pass(data, source, sink)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _pass(self, data: bytes, source: socket.socket, sink: socket.socket) -> None:  # noqa: ARG002 - for worse wires
        sink.sendall(data)

    def _read(self, source: socket.socket) -> bytes:
        while not self._stopping.is_set():
            try:
                return source.recv(65_536)
            except TimeoutError:
                continue
            except OSError:
                break
        return b""


@dataclass(frozen=True)
class Certificates:
    """A certificate authority, a broker's certificate for localhost, and a device's own."""

    ca: Path
    other_ca: Path
    broker_cert: Path
    broker_key: Path
    expired_cert: Path
    expired_key: Path
    device_cert: Path
    device_key: Path

    def listener(self, *, expired: bool = False, require_certificate: bool = False) -> tuple[str, ...]:
        """Mosquitto's settings for TLS."""
        cert, key = (self.expired_cert, self.expired_key) if expired else (self.broker_cert, self.broker_key)
        lines = ("allow_anonymous true", f"certfile {cert}", f"keyfile {key}")
        return (*lines, f"cafile {self.ca}", "require_certificate true") if require_certificate else lines


def make_certificates(folder: Path) -> Certificates:
    """Write them as PEM files."""
    authority, other = trustme.CA(), trustme.CA()
    now = dt.datetime.now(dt.UTC)
    day = dt.timedelta(days=1)
    issued = {
        "broker": authority.issue_cert("localhost"),
        "expired": authority.issue_cert("localhost", not_before=now - 2 * day, not_after=now - day),
        "device": authority.issue_cert("device@vire.example"),
    }
    authority.cert_pem.write_to_path(folder / "ca.pem")
    other.cert_pem.write_to_path(folder / "other-ca.pem")
    for name, leaf in issued.items():
        leaf.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
        leaf.private_key_pem.write_to_path(folder / f"{name}.key")
    return Certificates(
        ca=folder / "ca.pem",
        other_ca=folder / "other-ca.pem",
        broker_cert=folder / "broker.pem",
        broker_key=folder / "broker.key",
        expired_cert=folder / "expired.pem",
        expired_key=folder / "expired.key",
        device_cert=folder / "device.pem",
        device_key=folder / "device.key",
    )


MosquittoFactory = Callable[..., Mosquitto]


@pytest.fixture
def start_mosquitto(tmp_path: Path) -> Iterator[MosquittoFactory]:
    """`start_mosquitto(*lines, port=...)` starts a broker with these settings; all are stopped after the test."""
    running: list[Mosquitto] = []

    def start(*lines: str, port: int | None = None) -> Mosquitto:
        broker = Mosquitto(
            tmp_path / f"mosquitto-{len(running)}", lines or ("allow_anonymous true",), port or free_port()
        )
        running.append(broker)
        return broker.start()

    yield start
    for broker in running:
        broker.kill()


@pytest.fixture
def mosquitto(start_mosquitto: MosquittoFactory) -> Mosquitto:
    """A broker that lets everybody in."""
    return start_mosquitto()


@pytest.fixture
def mosquitto_with_login(start_mosquitto: MosquittoFactory, tmp_path: Path) -> Mosquitto:
    """A broker that knows one user, "device" with the password "correct horse"."""
    passwords = tmp_path / "passwords"
    passwords.touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", passwords, "device", "correct horse"], check=True, capture_output=True)
    return start_mosquitto("allow_anonymous false", f"password_file {passwords}")


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates of every kind that a test needs."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))
