"""Vectors of bundles: a log of four entries, whose key is replaced twice."""

from __future__ import annotations

import json

from tests.support import rfc6962
from tests.support.shapes import BOOT, ORIGIN, planned, prepared
from tests.vectors.makers.cases import Case, case, flipped, seal
from tests.vectors.makers.of_logs import STRANGER, VKEY, signed
from tests.vectors.makers.of_rotation import NEW, NEXT, OLD, log_of, rotation_to

from attestlog._internal.core.batch import Head
from attestlog._internal.core.bundle import Header, Item, Stamp, format_header, format_item
from attestlog._internal.core.checkpoint import Checkpoint, format_checkpoint
from attestlog._internal.core.entry import decode_line, parse_timestamp
from attestlog._internal.core.note import format_vkey
from attestlog._internal.core.pointer import Pointers


def old_rules() -> str:
    """A bundle of a log in which an entry after a rotation stands under the rules before it."""
    lines = log_of(rotation_to(NEW, 2))
    before = [decode_line(line.encode()) for line in lines]
    head = Head(3, before[2].entry_hash, parse_timestamp(before[2].timestamp))
    plan = planned([prepared(BOOT, 3)], OLD, head, pointers=Pointers(f"0:{before[0].entry_hash}"))
    lines += seal(plan, OLD)
    data = [bytes.fromhex(json.loads(line)["entry_hash"]) for line in lines]
    note = signed(format_checkpoint(Checkpoint(ORIGIN, len(lines), rfc6962.mth(data))), VKEY)
    items = [
        format_item(Item(line.encode(), b"".join(rfc6962.path(number, data))))
        for number, line in enumerate(lines)
    ]
    return (format_header(Header(checkpoint=note)) + b"".join(items)).decode()


def bundle() -> list[Case]:
    """`numbers`: the entries asked for. The error is that of a finding, as in `log.json`."""
    lines = log_of(rotation_to(NEW, 2), rotation_to(NEXT, 3, NEW))
    data = [bytes.fromhex(json.loads(line)["entry_hash"]) for line in lines]
    text = format_checkpoint(Checkpoint(ORIGIN, len(lines), rfc6962.mth(data)))
    vkeys = [format_vkey(VKEY)]

    def item(number: int, *, is_asked: bool = True, line: str | None = None, path: int | None = None) -> str:
        way = b"".join(rfc6962.path(number if path is None else path, data))
        return format_item(Item((line or lines[number]).encode(), way, is_asked)).decode()

    def made(*items: str, note: str | None = None, stamps: int = 0) -> str:
        header = Header(
            checkpoint=note or signed(text, VKEY), timestamps=[Stamp(response="AA==", size=1)] * stamps
        )
        return format_header(header).decode() + "".join(items)

    every = [item(number) for number in range(len(lines))]
    first, rotated = item(0, is_asked=False), item(2, is_asked=False)
    third = json.loads(lines[3])

    def bad(name: str, error: str, written: str, trusted: list[str] = vkeys) -> Case:
        return case(name, error, bundle=written, vkeys=trusted)

    def edited(old: str, new: str) -> str:
        assert old in lines[3]
        return made(first, rotated, item(3, line=lines[3].replace(old, new, 1)))

    good = made(first, rotated, every[3])
    pathless = every[3].partition(',"path"')[0] + ',"path":""}\n'
    signature = third["hsm_signature"]
    return [
        case("every entry", bundle=made(*every), vkeys=vkeys, numbers=[0, 1, 2, 3]),
        case("one entry, and what its key rests on", bundle=good, vkeys=vkeys, numbers=[3]),
        case("an entry under the first key", bundle=made(first, every[1]), vkeys=vkeys, numbers=[1]),
        case("with time stamps", bundle=made(*every, stamps=64), vkeys=vkeys, numbers=[0, 1, 2, 3]),
        bad("no key was given", "trust.none", good, []),
        bad("another log's key", "trust.mismatch", good, [format_vkey(STRANGER)]),
        bad("what its key rests on is missing", "entry.unjudged", made(first, every[3])),
        bad("payload changed", "entry.action_hash", edited('"algorithm":"', '"algorithm":"x')),
        bad("member changed", "entry.entry_hash", edited('"actor_id":"operator"', '"actor_id":"operatar"')),
        bad("not canonical", "entry.canonical", edited('"actor_id":', '"actor_id": ')),
        bad("signature changed", "entry.signature", edited(signature, flipped(signature))),
        bad("signature stripped", "entry.signature_form", edited(signature, "")),
        bad("old rules after a change", "entry.rules", old_rules()),
        bad("another place", "proof.inclusion", made(first, rotated, item(3, path=2))),
        bad("no path", "proof.inclusion", made(first, rotated, pathless)),
        bad("another checkpoint", "checkpoint.signature", made(*every, note=signed(text, STRANGER))),
        bad("size of the checkpoint", "checkpoint.signature", good.replace("\\n4\\n", "\\n3\\n", 1)),
        bad("not the genesis entry first", "export.malformed", made(every[1], every[2])),
        bad("an entry twice", "export.malformed", made(*every, every[3])),
        bad("out of order", "export.malformed", made(every[0], every[2], every[1])),
        bad("another version", "export.malformed", good.replace("bundle/v1", "bundle/v2", 1)),
        bad("one time stamp too many", "export.malformed", made(*every, stamps=65)),
        bad("white space in the header", "export.malformed", good.replace('","format"', '", "format"', 1)),
        bad("upper-case path", "export.malformed", good[:-68] + good[-68:].upper()),
        bad("cut short", "export.malformed", good[:-1]),
        bad("nothing after the header", "export.malformed", made()),
    ]  # fmt: skip
