"""Consistency files: one spelling, and that only a true prefix passes."""

import base64

import pytest
from tests.support import rfc6962
from tests.support.shapes import ORIGIN, ed25519_key

from attestlog._internal.core.checkpoint import Checkpoint, sign_checkpoint
from attestlog._internal.core.consistency import (
    Prefix,
    format_consistency,
    open_consistency,
    parse_consistency,
    verify_held,
)
from attestlog._internal.core.note import VerifierKey
from attestlog._internal.core.trust import TrustedLog, TrustPolicy
from attestlog.errors import ConsistencyError, MalformedProofError, SignatureInvalidError, TrustError

KEY = ed25519_key("log")
LOG = VerifierKey(ORIGIN, 1, KEY.public_key().public_bytes_raw())
POLICY = TrustPolicy((TrustedLog(LOG),))
DATA = [bytes([number]) * 32 for number in range(8)]
ROOT = rfc6962.mth(DATA)
NOTE = sign_checkpoint(Checkpoint(ORIGIN, 8, ROOT), [(LOG, KEY.sign)])


def prefix(old: int, **changes: object) -> bytes:
    facts = {
        "old_size": old, "old_root": rfc6962.mth(DATA[:old]), "path": b"".join(rfc6962.proof(old, DATA)),
        "checkpoint": NOTE, **changes,
    }  # fmt: skip
    return format_consistency(Prefix(**facts))  # type: ignore[arg-type]


GOOD = prefix(3)


def test_the_lines_of_a_file() -> None:
    header, old, root, *rest = GOOD.decode().split("\n")
    assert (header, old) == ("attestlog/consistency@v1", "old 3")
    assert base64.b64decode(root.removeprefix("root ")) == rfc6962.mth(DATA[:3])
    hashes = rest[: rest.index("")]
    assert [base64.b64decode(item) for item in hashes] == rfc6962.proof(3, DATA)
    assert "\n".join(rest[len(hashes) + 1 :]).encode() == NOTE


@pytest.mark.parametrize("old", range(1, 9))
def test_every_prefix_is_shown(old: int) -> None:
    found = open_consistency(prefix(old), POLICY)
    assert (found.old_size, found.old_root) == (old, rfc6962.mth(DATA[:old]))
    assert found.checkpoint.signed.checkpoint == Checkpoint(ORIGIN, 8, ROOT)
    parsed = parse_consistency(prefix(old))
    assert format_consistency(parsed) == prefix(old)
    verify_held(parsed, ORIGIN, Checkpoint(ORIGIN, old, rfc6962.mth(DATA[:old])))


@pytest.mark.parametrize(
    "changes",
    [
        {"old_size": 4},
        {"old_size": 0},
        {"old_size": 9},
        {"old_root": ROOT},
        {"path": b""},
        {"path": b"".join(rfc6962.proof(3, DATA))[32:]},
        {"path": b"".join(rfc6962.proof(3, DATA)) + ROOT},
        {"checkpoint": sign_checkpoint(Checkpoint(ORIGIN, 8, bytes(32)), [(LOG, KEY.sign)])},
        {"checkpoint": sign_checkpoint(Checkpoint(ORIGIN, 9, ROOT), [(LOG, KEY.sign)])},
        {"checkpoint": sign_checkpoint(Checkpoint(ORIGIN, 2, ROOT), [(LOG, KEY.sign)])},
    ],
)
def test_another_history_is_not_shown(changes: dict[str, object]) -> None:
    with pytest.raises(ConsistencyError):
        open_consistency(prefix(3, **changes), POLICY)


def test_whose_checkpoint_it_is() -> None:
    stranger = VerifierKey(ORIGIN, 1, ed25519_key("stranger").public_key().public_bytes_raw())
    with pytest.raises(TrustError):
        open_consistency(GOOD, TrustPolicy(), [stranger])
    with pytest.raises(SignatureInvalidError):
        open_consistency(GOOD.replace(b"\n8\n", b"\n9\n"), POLICY)


@pytest.mark.parametrize(
    "held, member",
    [
        (Checkpoint("example.com/other", 3, rfc6962.mth(DATA[:3])), "origin"),
        (Checkpoint(ORIGIN, 4, rfc6962.mth(DATA[:4])), "size"),
        (Checkpoint(ORIGIN, 3, ROOT), "root"),
    ],
)
def test_a_checkpoint_that_is_held(held: Checkpoint, member: str) -> None:
    with pytest.raises(ConsistencyError, match=f"another {member}") as caught:
        verify_held(parse_consistency(GOOD), ORIGIN, held)
    assert caught.value.member == member


ROOT_LINE = GOOD.decode().split("\n")[2]


@pytest.mark.parametrize(
    "old, new",
    [
        ("consistency@v1", "consistency@v2"),
        ("old 3", "old 03"),
        ("old 3", "Old 3"),
        ("old 3", "old 3 "),
        ("old 3", "old \u0663"),
        ("old 3\n", ""),
        ("old 3\n", "extra AAAA\nold 3\n"),
        (ROOT_LINE, "root"),
        (ROOT_LINE, ROOT_LINE[:-1]),
        (ROOT_LINE, "root " + base64.b64encode(bytes(31)).decode()),
        (ROOT_LINE, ROOT_LINE.replace("root", "Root")),
        (f"old 3\n{ROOT_LINE}", f"{ROOT_LINE}\nold 3"),
        ("\n\n", "\n"),
    ],
)
def test_what_is_no_consistency_file(old: str, new: str) -> None:
    assert old in GOOD.decode()
    with pytest.raises(MalformedProofError):
        parse_consistency(GOOD.decode().replace(old, new, 1).encode())
