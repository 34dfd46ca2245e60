"""Vectors of witnessing: requests to a witness that has cosigned some checkpoint of the log, or none."""

from __future__ import annotations

from tests.support.witnesses import SignedTree, bad_requests, mutants
from tests.vectors.makers.cases import Case, case

from attestlog._internal.core.note import NoteSignature
from attestlog._internal.core.witness import format_add_checkpoint

PROOF, NOTE, LOG = "malformed.proof", "malformed.note", SignedTree()
NOT_A_NOTE = {"no note", "nothing signed", "more after", "no last newline"}
STRANGE = NoteSignature("other.example.com/w", b"abcd", b"x" * 72)


def witness() -> list[Case]:
    """What stands under `note` is what may be cosigned: the text, and the log's own verified lines."""
    cases = [
        good(f"from {old} to {size}", old, size)
        for old, size in ((0, 0), (0, 1), (0, 7), (1, 2), (7, 7), (7, 8), (7, 40), (8, 16), (31, 33))
    ]
    padded = format_add_checkpoint(7, LOG.proof(7, 20), LOG.note(20, [STRANGE]))
    cases.append(good("a line of nobody's", 7, 20, padded))
    cases += [
        case(f"refused: {name}", kind.code, **given(7, body))
        for name, (body, kind) in bad_requests(LOG).items()
    ]
    cases += [
        case(f"no request: {name}", NOTE if name in NOT_A_NOTE else PROOF, **given(7, body))
        for name, body in mutants(LOG.request(7, 40)).items()
        if name != "not ascii"  # JSON holds no such bytes
    ]
    return cases


def given(old: int, body: bytes) -> Case:
    seen = LOG.checkpoint(old)
    return {
        "vkey": LOG.key.vkey, "seen_size": old, "seen_root": seen.root.hex(),
        "request": body.decode(),
    }  # fmt: skip


def good(name: str, old: int, size: int, body: bytes | None = None) -> Case:
    facts = given(old, body or LOG.request(old, size))
    return case(name, size=size, root=LOG.checkpoint(size).root.hex(), note=LOG.note(size).decode(), **facts)
