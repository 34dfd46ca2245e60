"""Vectors of compressed segments: zstd frames that hold their content as it is, so that no codec makes them.

What stands in the lines is not judged here: they are short.
"""

from __future__ import annotations

from tests.vectors.makers.cases import Case, case

FORM = "malformed.segment"
FOOT = bytes.fromhex("b1ea928f")


def compression() -> list[Case]:
    few, many = lines(3), lines(300)
    wide = b"\x40\x70" + (len(b"".join(many[:256])) - 256).to_bytes(2, "little")
    two = [frame(many[:256]), frame(many[256:])]
    whole = joined(two)

    def changed(by: int) -> list[tuple[int, int]]:
        """The index with another size of the first frame."""
        (packed, size), rest = sizes(two)
        return [(packed, size + by), rest]

    return [
        good("one frame of 3 lines", [frame(few)]),
        good("a whole frame", [frame(many[:256])]),
        good("a whole frame and a rest", two),
        wrong("empty", b""),
        wrong("no index", b"".join(packed for packed, _ in two)),
        wrong("a byte after the index", whole + b"\0"),
        wrong("two bytes between frames and index", joined(two, gap=b"\0\0")),
        wrong("the first byte missing", whole[1:]),
        wrong("the last byte missing", whole[:-1]),
        wrong("an index of no frame", joined([])),
        wrong("an index of a frame too few", joined(two, [(len(two[0][0]), two[0][1])])),
        wrong("an index of a frame too many", joined(two, [*sizes(two), (1, 1)])),
        wrong("a number of frames that is not the index's", whole[:-9] + b"\3\0\0\0" + whole[-5:]),
        wrong("a descriptor", whole[:-5] + b"\x80" + FOOT),
        wrong("another magic number at the end", whole[:-1] + b"\x8e"),
        wrong("another magic number at the beginning", joined(two, magic="5d2a4d18")),
        wrong("a frame of no content", joined(two, changed(-two[0][1]))),
        wrong("a frame of more than may be", joined(two, changed((1 << 30) + 1 - two[0][1]))),
        wrong("sizes of two frames swapped", joined(two, sizes(two)[::-1])),
        wrong("a size one more than the frame says", joined(two, changed(1))),
        wrong("a frame that holds more than it says", joined([frame(few, states=few_size() - 1)])),
        wrong("a frame that holds less than it says", joined([frame(few, states=few_size() + 1)])),
        wrong("a frame that does not say its size", joined([frame(few, header=b"\x00\x58")])),
        wrong("a frame with a dictionary", joined([frame(few, header=b"\x21\x07" + bytes([few_size()]))])),
        wrong("a skippable frame", joined([(bytes.fromhex("502a4d1800000000"), few_size())])),
        wrong("a window of 16 MiB", joined([frame(many[:256], header=wide)])),
        wrong("a frame of 255 lines", joined([frame(many[:255]), frame(many[255:300])])),
        wrong("a frame of 257 lines", joined([frame(many[:257]), frame(many[257:])])),
        wrong("a last frame of 257 lines", joined([frame(many[:257])])),
        wrong("a frame that ends within a line", joined([raw(b"x" * 9), frame(few)])),
    ]  # fmt: skip


def lines(count: int) -> list[bytes]:
    return [b"line %d\n" % number for number in range(count)]


def few_size() -> int:
    return len(b"".join(lines(3)))


def frame(
    content: list[bytes], *, states: int | None = None, header: bytes | None = None
) -> tuple[bytes, int]:
    data = b"".join(content)
    return raw(data, len(data) if states is None else states, header)


def raw(data: bytes, states: int | None = None, header: bytes | None = None) -> tuple[bytes, int]:
    """A zstd frame of one block that holds the data as it is, and the size that it says."""
    size = len(data) if states is None else states
    if header is None and size < 256:
        header = b"\x20" + bytes([size])
    elif header is None:
        header = b"\x60" + (size - 256).to_bytes(2, "little")
    block = (1 | len(data) << 3).to_bytes(3, "little") + data
    return bytes.fromhex("28b52ffd") + header + block, size


def sizes(frames: list[tuple[bytes, int]]) -> list[tuple[int, int]]:
    return [(len(packed), size) for packed, size in frames]


def joined(
    frames: list[tuple[bytes, int]],
    index: list[tuple[int, int]] | None = None,
    *,
    gap: bytes = b"",
    magic: str = "5e2a4d18",
) -> bytes:
    """The file of these frames; `index` instead of what is true."""
    index = sizes(frames) if index is None else index
    table = b"".join(number.to_bytes(4, "little") for item in index for number in item)
    foot = len(index).to_bytes(4, "little") + b"\0" + FOOT
    head = bytes.fromhex(magic) + (len(table) + len(foot)).to_bytes(4, "little")
    return b"".join(packed for packed, _ in frames) + gap + head + table + foot


def good(name: str, frames: list[tuple[bytes, int]]) -> Case:
    content = b"".join(packed[-size:] for packed, size in frames)
    listed = [list(item) for item in sizes(frames)]
    return case(name, file=joined(frames).hex(), frames=listed, lines=content.decode().splitlines())


def wrong(name: str, data: bytes) -> Case:
    return case(name, FORM, file=data.hex())
