"""Compressed segments for tests, made as the product makes them or by hand."""

from pathlib import Path

from attestlog._internal.core.compression import FRAME_ENTRIES, encode_index
from attestlog._internal.storage.files import layout
from attestlog._internal.storage.files.compressing import compress_segment
from attestlog._internal.storage.files.packed import codec


def compress_all(root: Path) -> list[Path]:
    """Every segment but the last."""
    return [compress_segment(root, first) for first, _ in layout.list_segments(root)[:-1]]


def frames_of(data: bytes, entries: int = FRAME_ENTRIES) -> list[tuple[bytes, int]]:
    """(zstd frame, size) of the lines, so many a frame."""
    lines = data.splitlines(keepends=True)
    parts = [b"".join(lines[at : at + entries]) for at in range(0, len(lines), entries)]
    return [(pack(part), len(part)) for part in parts]


def pack(content: bytes, *, samples: list[bytes] | None = None, states_size: bool = True) -> bytes:
    """One zstd frame; with a dictionary made of `samples`."""
    zstd = codec()
    options = {zstd.CompressionParameter.content_size_flag: int(states_size)}
    known = zstd.train_dict(samples, 10_000) if samples is not None else None
    if states_size:
        packed: bytes = zstd.compress(content, options=options, zstd_dict=known)
        return packed
    compressor = zstd.ZstdCompressor(options=options)
    return bytes(compressor.compress(content) + compressor.flush())


def joined(frames: list[tuple[bytes, int]], index: list[tuple[int, int]] | None = None) -> bytes:
    """The file of these frames; `index` instead of the true one."""
    sizes = [(len(packed), size) for packed, size in frames] if index is None else index
    return b"".join(packed for packed, _ in frames) + encode_index(sizes)
