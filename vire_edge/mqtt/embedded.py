"""A broker inside the daemon, so that one box works alone: amqtt on a thread and an event loop of its own.

It speaks MQTT 3.1.1 over TCP, forgets everything when it stops, and does not send again what a
subscriber has not acknowledged within five seconds. A home that must not miss an alert sets
`mqtt.host` to a Mosquitto. amqtt is imported only here and only when a broker is started.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import re
import threading
import time
from typing import TYPE_CHECKING, Any

import structlog

from vire_edge.config import BrokerConfig, MqttConfig
from vire_edge.errors import BrokerError
from vire_edge.mqtt.failures import bind_problem

if TYPE_CHECKING:
    from amqtt.broker import Broker

START_SECONDS = 5.0
SHUTDOWN_SECONDS = 1.0
"""For clients to leave, and again for the broker itself."""
SESSION_EXPIRY_SECONDS = 3600
"""How long the session of a client that is away is kept."""
MAX_CONNECTIONS = 64
STANDSTILL_SECONDS = 30.0
"""Its loop takes a step each second; one that has not for this long serves nobody."""
_REPEAT_SECONDS = 60.0
_LISTENER = "default"

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class EmbeddedBroker:
    """Listens from `start` to `stop`."""

    def __init__(self, config: BrokerConfig) -> None:
        """Prepare a broker.

        Args:
            config: where to listen and who may log in; without a login only on loopback.
        """
        self._config = config
        self._listening = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._error: BrokerError | None = None
        self._last_step = float("-inf")
        self._thread = self._new_thread()

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._thread.is_alive()

    def complaint(self, now: float) -> str:
        """What stands still, `now` in monotonic seconds; empty while it serves."""
        if not self.alive:
            return "has ended"
        silent = now - self._last_step
        return f"has served nobody for {silent:.0f} s" if silent > STANDSTILL_SECONDS else ""

    def start(self) -> None:
        """Listen; again, if it has ended.

        Raises:
            BrokerError: the address cannot be listened on, the login is missing, or it takes too long.
        """
        config = self._config
        if config.password is None and not _is_loopback(config.host):
            raise BrokerError(
                f"broker.host {config.host} opens the broker to the network; set broker.username and "
                "VIRE_EDGE_BROKER__PASSWORD, or keep 127.0.0.1"
            )
        if self._thread.ident is not None:
            self._listening.clear()
            self._error, self._thread = None, self._new_thread()
        self._thread.start()
        if not self._listening.wait(START_SECONDS):
            self.stop(timeout_seconds=0.0)
            raise BrokerError(f"the embedded broker does not listen on {self._where()} after {START_SECONDS:.0f} s")
        if self._error is not None:
            self._thread.join(START_SECONDS)
            raise self._error
        log.info("embedded_broker_listening", address=self._where(), login=config.username is not None)

    def stop(self, *, timeout_seconds: float) -> bool:
        """Close every connection and stop listening; whether that was done in time."""
        loop, stopping = self._loop, self._stopping
        if loop is not None and stopping is not None:
            with contextlib.suppress(RuntimeError):  # the loop has just closed by itself
                loop.call_soon_threadsafe(stopping.set)
        if self._thread.ident is not None:
            self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def client_config(self, mqtt: MqttConfig) -> MqttConfig:
        """`mqtt` with the host, port and login that reach this broker."""
        config = self._config
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.host, config.host)  # noqa: S104  # compared, not bound
        return mqtt.model_copy(
            update={
                "host": host,
                "port": config.port,
                "username": config.username,
                "password": config.password,
                "password_file": None,
                "tls": None,
            }
        )

    def _where(self) -> str:
        host = self._config.host
        return f"[{host}]:{self._config.port}" if ":" in host else f"{host}:{self._config.port}"

    def _new_thread(self) -> threading.Thread:
        return threading.Thread(target=self._run, name="mqtt-broker", daemon=True)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BrokerError as error:
            self._error = error
        except (OSError, ValueError, RuntimeError) as error:  # ValueError: a host that cannot be a name
            self._error = BrokerError(f"the embedded broker does not run on {self._where()}: {error}")
            log.warning("embedded_broker_ended", reason=str(error))
        finally:
            self._listening.set()

    async def _serve(self) -> None:
        # 4 MB that a daemon with a broker of its own never needs.
        from amqtt.errors import BrokerError as AmqttError  # noqa: PLC0415

        from vire_edge.mqtt.embedded_plugins import DiscreetBroker  # noqa: PLC0415

        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        _quieten()
        broker = DiscreetBroker(_settings(self._config))
        try:
            await broker.start()
        except AmqttError as error:
            raise BrokerError(f"the embedded broker does not start: {error}") from error
        door = _Door(broker)
        try:
            server = await asyncio.start_server(door.enter, self._config.host, self._config.port)
        except OSError as error:
            await broker.shutdown()
            raise BrokerError(self._cannot_listen(error)) from error
        async with server:
            while not self._stopping.is_set():
                self._last_step = time.monotonic()
                self._listening.set()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1.0):
                        await self._stopping.wait()
            server.close()
            # amqtt's own way, to cancel each reader and wait for it, hangs for ever when a packet comes at that
            # moment (`asyncio.wait_for` of Python 3.11 loses the cancellation). So everybody leaves by the door first.
            await door.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SHUTDOWN_SECONDS):
                    await broker.shutdown()

    def _cannot_listen(self, error: OSError) -> str:
        problem = bind_problem(error)
        if problem != "is in use":
            return f"the embedded broker's address {self._where()} {problem}"
        return (
            f"{self._where()} is in use; if vire-edge runs already, stop it or leave it; if it is another broker, set "
            f'mqtt.host = "{self._config.host}" to use it, or broker.port to a free one'
        )


class _Door:
    """Lets clients in to the broker."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._inside: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}
        self._full = False

    async def enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client from its CONNECT to its end."""
        from amqtt.adapters import StreamWriterAdapter  # noqa: PLC0415
        from amqtt.errors import AMQTTError, MQTTError, NoDataError  # noqa: PLC0415

        from vire_edge.mqtt import embedded_door as door  # noqa: PLC0415

        task = asyncio.current_task()
        if task is None or len(self._inside) >= MAX_CONNECTIONS:
            if not self._full:
                self._full = True
                log.warning("embedded_broker_full", connections=MAX_CONNECTIONS, remedy="set mqtt.host to a Mosquitto")
            await door.hang_up(writer)
            return
        self._full = False
        self._inside[task] = writer
        farewell = b""
        try:
            knock = await door.read_knock(reader)
            if door.refuses(knock):
                farewell = door.REFUSED_VERSION
            else:
                guarded = door.GuardedReader(reader, knock)
                await self._broker.external_connected(guarded, StreamWriterAdapter(writer), _LISTENER)
        except (door.DoorError, OSError, AMQTTError, MQTTError, NoDataError) as error:
            log.debug("embedded_broker_client_gone", reason=str(error))
        except RuntimeError as error:
            # amqtt walks over its subscriptions while others change them; this client has to come again.
            log.warning("embedded_broker_client_sent_away", reason=str(error))
        finally:
            # Inside until the very end: whoever closes the door waits for it, and asyncio has nothing left to cancel.
            try:
                await door.hang_up(writer, farewell)
            finally:
                del self._inside[task]

    async def close(self) -> None:
        """Show everybody out; those who do not go are thrown out."""
        for writer in self._inside.values():
            writer.transport.abort()
        if self._inside:
            _, remaining = await asyncio.wait(self._inside, timeout=SHUTDOWN_SECONDS)
            for task in remaining:
                task.cancel()


def _settings(config: BrokerConfig) -> Any:
    from amqtt.contexts import BrokerConfig as AmqttConfig  # noqa: PLC0415
    from amqtt.contexts import ListenerConfig, ListenerType  # noqa: PLC0415

    plugins: dict[str, dict[str, Any]] = {"vire_edge.mqtt.embedded_plugins.BoundsPlugin": {}}
    if config.password is None:
        plugins["amqtt.plugins.authentication.AnonymousAuthPlugin"] = {"allow_anonymous": True}
    else:
        plugins["vire_edge.mqtt.embedded_plugins.LoginPlugin"] = {
            "username": config.username,
            "password": config.password.get_secret_value(),
        }
    return AmqttConfig(
        # Connections come through our own door, see `embedded_door`.
        listeners={_LISTENER: ListenerConfig(type=ListenerType.EXTERNAL)},
        session_expiry_interval=SESSION_EXPIRY_SECONDS,
        plugins=plugins,
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Bridge(logging.Handler):
    """amqtt's warnings → structlog, each kind at most once a minute: it has one for each late client and packet."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a warning on."""
        text = record.getMessage()[:300]
        kind = re.sub(r"[0-9]+|'[^']*'|\([^)]*\)", "", text)[:80]
        now = time.monotonic()
        if len(self._said) > 100:
            self._said.clear()
        if now - self._said.get(kind, -_REPEAT_SECONDS) >= _REPEAT_SECONDS:
            self._said[kind] = now
            log.warning("embedded_broker", detail=text)


def _quieten() -> None:
    """Silence amqtt, which logs each packet, and `transitions`, which logs each change of a session."""
    for name in ("amqtt", "transitions"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        logger.propagate = False
        if not any(isinstance(handler, _Bridge) for handler in logger.handlers):
            logger.addHandler(_Bridge())
