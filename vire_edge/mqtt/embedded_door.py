"""The embedded broker's door: what amqtt does not check itself is checked before a connection reaches it.

- An MQTT 5 CONNECT is refused as the 3.1.1 standard asks. amqtt reads its properties as a client
  id and then waits for ever for bytes that never come.
- A client that is silent for one and a half times its keep-alive is gone (and its last will is
  published). amqtt never looks.
- A packet has a bounded size, and CONNECT a deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass

from amqtt.adapters import StreamReaderAdapter

FAREWELL_SECONDS = 1.0
"""How long a client may take to hear the last word."""
MAX_PACKET_BYTES = 262_144
"""The largest payload that we publish has a few kilobytes."""
CONNECT_SECONDS = 10.0
REFUSED_VERSION = bytes([0x20, 2, 0, 1])
"""CONNACK, as 3.1.1 has it: unacceptable protocol version."""
_CONNECT = 0x10
_MQTT_5 = 5


class DoorError(Exception):
    """What came is no connection that the broker can serve."""


@dataclass(frozen=True, slots=True)
class Knock:
    """The beginning of a CONNECT."""

    data: bytes
    """What has been read so far; the broker reads it again."""
    level: int
    """4 is MQTT 3.1.1."""
    keepalive_seconds: int


async def read_knock(reader: asyncio.StreamReader) -> Knock:
    """Read a CONNECT as far as its keep-alive.

    Raises:
        DoorError: it is none, too large, or does not come in time.
    """
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            data = await reader.readexactly(2)
            if data[0] != _CONNECT:
                raise DoorError("the first packet is no CONNECT")
            while data[-1] & 0x80:
                if len(data) > 4:
                    raise DoorError("the length of CONNECT is malformed")
                data += await reader.readexactly(1)
            length = sum((byte & 0x7F) << (7 * place) for place, byte in enumerate(data[1:]))
            if length > MAX_PACKET_BYTES:
                raise DoorError(f"CONNECT has {length} bytes")
            name = await reader.readexactly(2)
            rest = await reader.readexactly(int.from_bytes(name) + 4)
    except (TimeoutError, asyncio.IncompleteReadError, OSError) as error:
        raise DoorError("no CONNECT came") from error
    return Knock(data + name + rest, level=rest[-4], keepalive_seconds=int.from_bytes(rest[-2:]))


class GuardedReader(StreamReaderAdapter):  # type: ignore[misc]  # amqtt has no annotations that mypy may use
    """Reads a client's packets; ends when the client has been silent for too long or sends too much at once."""

    def __init__(self, reader: asyncio.StreamReader, knock: Knock) -> None:
        super().__init__(reader)
        self._stream = reader
        self._again = knock.data
        self._patience = knock.keepalive_seconds * 1.5 or None
        self._heard = time.monotonic()
        self._ended = False

    async def read(self, n: int = -1) -> bytes:
        """Read exactly `n` bytes; fewer at the end."""
        if self._ended or n > MAX_PACKET_BYTES:
            self._ended = True
            return b""
        again, self._again = self._again[:n], self._again[n:]
        if len(again) == n:
            return again
        try:
            async with asyncio.timeout_at(self._deadline()):
                data = again + await self._stream.readexactly(n - len(again))
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            # Not passed on: amqtt takes a TimeoutError for its own and would read on for ever.
            self._ended = True
            return b""
        self._heard = time.monotonic()
        return data

    def _deadline(self) -> float | None:
        if self._patience is None:
            return None
        left = self._heard + self._patience - time.monotonic()
        return asyncio.get_running_loop().time() + left


async def hang_up(writer: asyncio.StreamWriter, farewell: bytes = b"") -> None:
    """Close a connection, with a last word if there is one."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(FAREWELL_SECONDS):
            if farewell and not writer.is_closing():
                writer.write(farewell)
                await writer.drain()
            writer.close()
            await _until_closed(writer)
    writer.transport.abort()


async def _until_closed(writer: asyncio.StreamWriter) -> None:
    try:
        await writer.wait_closed()
    except asyncio.CancelledError:
        # All who wait for the end of a connection wait for one future. When amqtt stops waiting it cancels that, and
        # so every other waiter, though nobody has cancelled this task.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise


def refuses(knock: Knock) -> bool:
    """Whether the client speaks what the broker does not."""
    return knock.level >= _MQTT_5
