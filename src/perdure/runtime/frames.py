"""How the processes of a pool speak with each other: messages in msgpack, each behind its length, over sockets."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Any

import msgspec

FRAME_BYTES_MAX = 256 << 20  # one message: the parameters or the output of a node
_LENGTH = struct.Struct("<I")

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder()


class FrameTooLarge(Exception):
    """A message is larger than any may be."""

    def __init__(self, size: int) -> None:
        super().__init__(f"Expected at most {FRAME_BYTES_MAX} bytes in one message between processes, but it has {size}.")


def frame(message: Any) -> bytes:
    """The message as it is sent. Raises FrameTooLarge, or TypeError and OverflowError for what msgpack cannot hold."""
    body = _encoder.encode(message)
    if len(body) > FRAME_BYTES_MAX:
        raise FrameTooLarge(len(body))
    return _LENGTH.pack(len(body)) + body


class Frames:
    """Takes bytes as they come, gives the messages that are complete. Raises FrameTooLarge."""

    def __init__(self) -> None:
        self._received = bytearray()

    def feed(self, data: bytes) -> Iterator[Any]:
        """The messages that these bytes complete, in order."""
        received = self._received
        received += data
        while len(received) >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(received)
            if size > FRAME_BYTES_MAX:
                raise FrameTooLarge(size)
            end = _LENGTH.size + size
            if len(received) < end:
                return
            message = _decoder.decode(bytes(memoryview(received)[_LENGTH.size : end]))
            del received[:end]
            yield message


def receive(connection: socket.socket) -> Any:
    """The next message of a blocking socket. Raises EOFError when the other side is gone."""
    (size,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    return _decoder.decode(_exactly(connection, size))


def _exactly(connection: socket.socket, size: int) -> bytearray:
    received = bytearray(size)
    view = memoryview(received)
    while view:
        count = connection.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]
    return received
