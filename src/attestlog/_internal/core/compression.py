"""Compressed segments: how their bytes are laid out. The codec itself is not here.

    <zstd frame> … <zstd frame> <frame index>

A frame holds the lines of FRAME_ENTRIES entries, line ends included; the last one holds the rest. The frame
index is the seek table of zstd's seekable format, without checksums: a skippable frame

    0x184D2A5E  size  (packed size, size) a frame  number of frames  descriptor 0  0x8F92EAB1

of little-endian 32-bit numbers, but for the descriptor, which is a byte. It says where each frame is and how
much it unpacks to, so that an entry is found by its number, and nothing unpacks to more than was said.
Specified in docs/spec/compression.md.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final, NamedTuple

from attestlog.errors import MalformedSegmentError

FRAME_ENTRIES: Final = 256
"""Entries a frame: enough to compress well, few enough to be unpacked for one of them."""

FRAME_SIZE_MAX_BYTES: Final = 1 << 30
"""Of a frame, unpacked: what zstd's seekable format allows. A segment that would need more stays as it is."""

FRAMES_MAX: Final = (1 << 20) // FRAME_ENTRIES
"""As many entries as a segment may have."""

WINDOW_SIZE_MAX_BYTES: Final = 8 << 20
"""Memory that unpacking a frame may take: what every decoder of zstd has to support (RFC 8878)."""

FRAME_HEADER_SIZE_MAX_BYTES: Final = 14
"""Of a zstd frame: magic number, descriptor, window, size."""

_FRAME_MAGIC: Final = bytes.fromhex("28b52ffd")
_SIZE_BYTES: Final = (0, 2, 4, 8)
"""How many bytes a frame's header has for its size, by the descriptor's first two bits."""

_INDEX_MAGIC: Final = 0x184D2A5E
_END_MAGIC: Final = 0x8F92EAB1

_HEADER: Final = struct.Struct("<II")
_FRAME: Final = struct.Struct("<II")
_FOOTER: Final = struct.Struct("<IBI")

FOOTER_SIZE_BYTES: Final = _FOOTER.size


class Frame(NamedTuple):
    """One frame: where it is in the file, and what it is of. Offsets and sizes are bytes."""

    offset: int
    packed_size: int
    start: int
    """Where its content begins in the segment, unpacked."""
    size: int


class FrameIndex(NamedTuple):
    """The frames of a compressed segment."""

    frames: tuple[Frame, ...]
    starts: tuple[int, ...]
    """Where the content of each begins."""
    size: int
    """Of the segment, unpacked."""

    def frame_at(self, offset: int) -> int:
        """Which frame holds this offset of the segment; how many there are, if that is behind its end."""
        return len(self.frames) if offset >= self.size else bisect_right(self.starts, offset) - 1


def encode_index(sizes: Sequence[tuple[int, int]]) -> bytes:
    """The frame index of frames of these (packed size, size), from the beginning of the file on."""
    table = b"".join(_FRAME.pack(*item) for item in sizes)
    return (
        _HEADER.pack(_INDEX_MAGIC, len(table) + _FOOTER.size)
        + table
        + _FOOTER.pack(len(sizes), 0, _END_MAGIC)
    )


def index_size(footer: bytes) -> int:
    """How many bytes at the end of the file are the index, by its last FOOTER_SIZE_BYTES.

    Raises MalformedSegmentError.
    """
    if len(footer) != _FOOTER.size:
        raise MalformedSegmentError("the file is too short for a frame index")
    count, descriptor, magic = _FOOTER.unpack(footer)
    if magic != _END_MAGIC or descriptor:
        raise MalformedSegmentError("the file does not end in a frame index")
    if not 0 < count <= FRAMES_MAX:
        raise MalformedSegmentError(f"a frame index of {count} frames, want 1 to {FRAMES_MAX}")
    return int(_HEADER.size + count * _FRAME.size + _FOOTER.size)


def decode_index(data: bytes, file_size: int) -> FrameIndex:
    """The index in the last bytes of a file of this size. Raises MalformedSegmentError."""
    if len(data) != index_size(data[-_FOOTER.size :]):
        raise MalformedSegmentError("the frame index is not all there")
    if _HEADER.unpack_from(data) != (_INDEX_MAGIC, len(data) - _HEADER.size):
        raise MalformedSegmentError("the frame index does not begin as one")
    frames, offset, start = [], 0, 0
    for packed_size, size in _FRAME.iter_unpack(data[_HEADER.size : -_FOOTER.size]):
        if not packed_size or not 0 < size <= FRAME_SIZE_MAX_BYTES:
            raise MalformedSegmentError(f"a frame of {packed_size} bytes that unpacks to {size}")
        frames.append(Frame(offset, packed_size, start, size))
        offset, start = offset + packed_size, start + size
    if offset + len(data) != file_size:
        raise MalformedSegmentError(
            f"frames and index have {offset + len(data)} bytes, the file has {file_size}"
        )
    return FrameIndex(tuple(frames), tuple(frame.start for frame in frames), start)


def check_frame(header: bytes, size: int) -> None:
    """Raises MalformedSegmentError unless these bytes begin a frame that says that it unpacks to this size.

    `header`: the frame's first FRAME_HEADER_SIZE_MAX_BYTES bytes, or all of it (RFC 8878, 3.1.1.1).
    """
    if not header.startswith(_FRAME_MAGIC) or len(header) < FRAME_HEADER_SIZE_MAX_BYTES // 2:
        raise MalformedSegmentError("there is no zstd frame where one must begin")
    descriptor, is_single = header[4], bool(header[4] & 0x20)
    if descriptor & 0x0B:
        raise MalformedSegmentError("a frame needs a dictionary, or has a bit that is reserved")
    count = _SIZE_BYTES[descriptor >> 6] or int(is_single)
    start = 5 if is_single else 6
    found = int.from_bytes(header[start : start + count], "little") + 256 * (count == 2)
    if not count or found != size:
        what = f"{found} bytes" if count else "it does not say what"
        raise MalformedSegmentError(f"a frame says that it unpacks to {what}, the index says {size}")
    window = size if is_single else (8 + (header[5] & 7)) << (7 + (header[5] >> 3))
    if window > WINDOW_SIZE_MAX_BYTES:
        raise MalformedSegmentError(
            f"a frame takes {window} bytes of memory to unpack, want {WINDOW_SIZE_MAX_BYTES} at most"
        )
