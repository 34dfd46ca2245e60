"""Reading what is sent, within limits: bytes, the ratio they unpack by, and the time they may take.

Nothing is kept that is over a limit, and nothing is waited for that comes too
slowly. Whoever reads gets plain bytes, whether they came gzipped or not.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from attestlog.errors import MalformedError, RequestTimeoutError, TooLargeError

RATIO_MAX: Final = 64
"""Entries gzip to about a fifth; zeros to a thousandth. What unpacks by more than this is a bomb."""

RATIO_FREE_BYTES: Final = 1 << 20
"""Up to here any ratio will do: small texts of repeated members are no bomb."""

SILENCE_MAX_S: Final = 10.0
"""Between two pieces of a body; a network that stalls for longer will need another connection anyway."""

BODY_TIME_MAX_S: Final = 120.0
"""A whole body: 32 MiB within this is 280 kB/s. Slower senders should send less at once."""

_PIECE_BYTES: Final = 1 << 20
_GZIP: Final = zlib.MAX_WBITS | 16


async def read_body(stream: AsyncIterator[bytes], *, encoding: str, size_bytes_max: int) -> bytes:
    """The whole body. Raises TooLargeError, MalformedError or RequestTimeoutError."""
    return b"".join([piece async for piece in read_pieces(stream, encoding, size_bytes_max)])


async def read_pieces(
    stream: AsyncIterator[bytes], encoding: str, size_bytes_max: int
) -> AsyncGenerator[bytes]:
    """The body in pieces, unpacked; the sum of them is at most `size_bytes_max`."""
    if encoding not in {"", "identity", "gzip"}:
        raise MalformedError(
            f"content encoding is {encoding!r}, want gzip or none", member="content-encoding"
        )
    unpacker = _Unpacker(size_bytes_max) if encoding == "gzip" else None
    total = 0
    async for received in _in_time(stream):
        total += len(received)
        if total > size_bytes_max:
            raise _too_large(total, size_bytes_max)
        if unpacker is None:
            yield received
            continue
        for piece in unpacker.unpack(received):
            yield piece
    if unpacker is not None:
        unpacker.finish()


class _Unpacker:
    """gzip, a piece at a time, so that a bomb is seen before it has gone off."""

    def __init__(self, size_bytes_max: int) -> None:
        self._inflate = zlib.decompressobj(_GZIP)
        self._size_bytes_max = size_bytes_max
        self._taken = self._given = 0

    def unpack(self, data: bytes) -> list[bytes]:
        self._taken += len(data)
        pieces = []
        while data:
            try:
                piece = self._inflate.decompress(data, _PIECE_BYTES)
            except zlib.error:
                raise MalformedError("the body is not the gzip it says it is") from None
            if self._inflate.unused_data:
                raise MalformedError("bytes follow the end of the gzip stream")
            data = self._inflate.unconsumed_tail
            self._given += len(piece)
            if self._given > self._size_bytes_max:
                raise _too_large(self._given, self._size_bytes_max)
            if self._given > max(RATIO_FREE_BYTES, RATIO_MAX * self._taken):
                raise TooLargeError(
                    f"the body unpacks by more than {RATIO_MAX} times",
                    size_bytes=self._given, size_bytes_max=RATIO_MAX * self._taken,
                )  # fmt: skip
            pieces.append(piece)
        return pieces

    def finish(self) -> None:
        if not self._inflate.eof:
            raise MalformedError("the gzip stream ends before its end")


async def _in_time(stream: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    try:
        async with asyncio.timeout(BODY_TIME_MAX_S):
            while True:
                try:
                    async with asyncio.timeout(SILENCE_MAX_S):
                        piece = await anext(stream)
                except StopAsyncIteration:
                    return
                yield piece
    except TimeoutError:
        raise RequestTimeoutError(
            f"the body did not come within {BODY_TIME_MAX_S:g} s, or stopped for {SILENCE_MAX_S:g} s"
        ) from None


def _too_large(size_bytes: int, size_bytes_max: int) -> TooLargeError:
    return TooLargeError(
        f"the body has more than {size_bytes_max} bytes", size_bytes=size_bytes, size_bytes_max=size_bytes_max
    )
