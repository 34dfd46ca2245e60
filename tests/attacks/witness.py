"""Somebody who operates a witness, or who sends one what they should not."""

from __future__ import annotations

from tests.attacks.key_holder import rewritten
from tests.attacks.kit import DETECTED, NOT_GUARANTEED, PREVENTED, WITNESS, Ground, Left, Story, attempt
from tests.support.shapes import ed25519_key
from tests.support.witnesses import NAME, SignedTree, forged

from attestlog._internal.core.cosignature import cosign
from attestlog._internal.core.note import NoteSignature, VerifierKey, format_note, parse_note
from attestlog._internal.core.trust import Group, TrustedWitness, TrustPolicy
from attestlog._internal.core.witness import format_add_checkpoint
from attestlog._internal.witness import Witness
from attestlog.testing import MemorySigner

NOW_S = 1_761_825_600
NAMES = ("w1", "w2", "w3")


def key(name: str) -> VerifierKey:
    return VerifierKey(f"{name}.example", 4, ed25519_key(name).public_key().public_bytes_raw())


TWO_OF_THREE = TrustPolicy(
    (), tuple(TrustedWitness(name, key(name)) for name in NAMES), (Group("g", 2, NAMES),), "g"
)


def line(note: bytes, name: str) -> NoteSignature:
    """A cosignature of a checkpoint."""
    return cosign(parse_note(note).text, key(name), NOW_S, ed25519_key(name).sign)


def cosigned(made: Story, *lines: NoteSignature) -> Left:
    """The story with a checkpoint that has these lines, for a reader who asks for two of three witnesses."""
    files = made.files()
    note = parse_note(files["checkpoint"])
    files["checkpoint"] = format_note(note.text, [*note.signatures, *lines])
    options = {"trust_policy": TWO_OF_THREE, "remember": False}
    return Left(files, trust=[made.checkpoint_key.vkey], options=options)


@attempt(WITNESS, DETECTED, "FORKED trust.quorum", "VERIFIED")
def cosigns_alone(ground: Ground) -> Left:
    """One of two that are asked for. The one-file verifier judges no cosignatures."""
    made = Story()
    return cosigned(made, line(made.files()["checkpoint"], "w1"))


@attempt(WITNESS, DETECTED, "FORKED trust.quorum", "VERIFIED")
def cosigns_twice(ground: Ground) -> Left:
    """The same witness again, where two are asked for."""
    made = Story()
    return cosigned(made, *[line(made.files()["checkpoint"], "w1")] * 2)


@attempt(WITNESS, DETECTED, "TAMPERED checkpoint.cosignature", "VERIFIED")
def cosigns_for_another(ground: Ground) -> Left:
    """A line in the name of another witness."""
    made = Story()
    note = made.files()["checkpoint"]
    own, other = line(note, "w1"), line(note, "w2")
    return cosigned(made, own, NoteSignature(other.name, other.key_id, own.signature))


@attempt(WITNESS, DETECTED, "TAMPERED checkpoint.cosignature", "VERIFIED")
def has_its_cosignatures_moved(ground: Ground) -> Left:
    """Lines of an older checkpoint, under the one of now."""
    made = Story()
    older = made.files(made.lines[:5])["checkpoint"]
    return cosigned(made, line(older, "w1"), line(older, "w2"))


@attempt(WITNESS, DETECTED, "FORKED trust.quorum", "VERIFIED")
def has_its_cosignatures_stripped(ground: Ground) -> Left:
    """Who serves the log leaves all lines of witnesses out."""
    return cosigned(Story())


@attempt(WITNESS, DETECTED, "TAMPERED checkpoint.cosignature", "VERIFIED")
def is_shown_another_history_than_the_others(ground: Ground) -> Left:
    """Each of two witnesses cosigned another history: neither has the quorum."""
    made = Story()
    other = made.files(rewritten(made))["checkpoint"]
    return cosigned(made, line(made.files()["checkpoint"], "w1"), line(other, "w2"))


@attempt(WITNESS, NOT_GUARANTEED, "VERIFIED", "VERIFIED")
def works_together_with_the_key_holder(ground: Ground) -> Left:
    """As many witnesses as are asked for cosign a rewritten history."""
    made = Story()
    made.lines = rewritten(made)
    note = made.files()["checkpoint"]
    return cosigned(made, line(note, "w1"), line(note, "w2"))


def asked(ground: Ground, request: bytes) -> None:
    """A witness that has cosigned size 7 is sent this."""
    tree = SignedTree()
    witness = Witness.begin(ground.folder / "witness", NAME, [MemorySigner("Ed25519")], [tree.key.verifier])
    try:
        witness.add_checkpoint(tree.request(0, 7))
        witness.add_checkpoint(request)
    finally:
        witness.close()


@attempt(WITNESS, PREVENTED, "ConsistencyError", "")
def is_sent_a_fork(ground: Ground) -> None:
    """A checkpoint of another history, with a proof from that one."""
    asked(ground, SignedTree(fork=5).request(7, 20))


@attempt(WITNESS, PREVENTED, "SplitViewError", "")
def is_sent_two_roots_of_one_size(ground: Ground) -> None:
    """Signed by the log's key: both are kept as evidence."""
    tree = SignedTree()
    root = SignedTree(fork=5).checkpoint(7).root
    asked(ground, format_add_checkpoint(7, b"", forged(tree, 7, root)))


@attempt(WITNESS, PREVENTED, "StaleSizeError", "")
def is_sent_back(ground: Ground) -> None:
    """An older state than it has cosigned."""
    asked(ground, SignedTree().request(3, 5))


@attempt(WITNESS, PREVENTED, "UnknownOriginError", "")
def is_sent_another_log(ground: Ground) -> None:
    """A log that it does not know."""
    asked(ground, SignedTree("example.com/stranger").request(0, 3))
