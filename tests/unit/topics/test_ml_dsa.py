"""ML-DSA-44 and ML-DSA-65: signing, verifying, limits, and a cryptography that does not have them."""

from pathlib import Path
from typing import Any

import pytest
from tests.support.audits import codes, verify
from tests.support.logs import Key, LogMaker, create, draft, drafts

from attestlog._internal.core import signature as signatures
from attestlog._internal.core.entry import ENTRY_SIZE_MAX_BYTES
from attestlog._internal.core.report import Verdict
from attestlog._internal.core.signature import (
    ECDSA_P256,
    ML_DSA_44,
    ML_DSA_65,
    SIGNATURE_SIZE_MAX_BYTES,
    load_public_key,
    public_key,
)
from attestlog._internal.in_force import read_rules
from attestlog._internal.log import Log
from attestlog._internal.signers import private_keys
from attestlog._internal.signers.file import open_file_signer, save_key
from attestlog._internal.signers.private_keys import make_key, sign_with
from attestlog._internal.storage.resolve import open_source
from attestlog._internal.verifying import judge_log
from attestlog.errors import MalformedSignatureError, MissingExtraError, SignatureInvalidError, TooLargeError
from attestlog.testing import MemorySigner, check_log

BOTH = pytest.mark.parametrize("algorithm", [ML_DSA_44, ML_DSA_65])


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calling it makes the installed cryptography one without ML-DSA."""

    def take_away() -> None:
        table = {name: (prefix, size, None) for name, (prefix, size, _) in signatures._ML_DSA.items()}
        monkeypatch.setattr(signatures, "_ML_DSA", table)
        monkeypatch.setattr(private_keys, "_ML_DSA", dict.fromkeys(private_keys._ML_DSA))

    return take_away


@BOTH
@pytest.mark.parametrize("batch", [True, False], ids=["batches", "plain"])
def test_a_log_signed_so(tmp_path: Path, algorithm: str, batch: bool) -> None:
    path = tmp_path / "log"
    with create(path, signer=MemorySigner(algorithm), batch=batch) as log:
        receipts = [log.append(draft(1)), *log.append_many(drafts(range(20)))]
    entries = check_log(path, receipts)
    suffix = "+BATCH" if batch else ""
    assert [entry.signature_algorithm for entry in entries] == [algorithm] * 2 + [algorithm + suffix] * 20
    with Log.open(path) as log:
        log.append(draft(2))


@BOTH
def test_a_key_file_is_made_and_opened(tmp_path: Path, algorithm: str) -> None:
    for secret in (None, b"secret"):
        made = save_key(make_key(algorithm), tmp_path / f"key-{secret!r}.pem", secret)
        opened = open_file_signer(made.uri, lambda _: secret)  # noqa: B023
        opened.public_key.verify(opened.sign(b"message"), b"message")
        assert opened.public_key.key_id == made.public_key.key_id
        with pytest.raises(SignatureInvalidError):
            made.public_key.verify(opened.sign(b"message"), b"another message")


@BOTH
def test_a_public_key_has_one_spelling(algorithm: str) -> None:
    key = public_key(make_key(algorithm).public_key())
    assert load_public_key(key.spki) == load_public_key(key.pem.encode()) == key
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    assert key.key is not None
    assert key.pem == key.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    for other in (key.spki[:-1], key.spki + b"\0", b"\x30" + key.spki):
        with pytest.raises(MalformedSignatureError):
            load_public_key(other)


@BOTH
def test_signatures_are_as_long_as_the_limits_say(algorithm: str) -> None:
    assert len(sign_with(make_key(algorithm), b"message")) == SIGNATURE_SIZE_MAX_BYTES[algorithm]


@pytest.mark.parametrize("algorithm", [ECDSA_P256, ML_DSA_65])
def test_an_entry_at_its_limit_is_stored_and_one_past_it_is_not(tmp_path: Path, algorithm: str) -> None:
    path = tmp_path / "log"
    with create(path, signer=MemorySigner(algorithm)) as log:

        def sized(size: int) -> dict[str, Any]:
            return draft(1, actor_context={"padding": "x" * size})

        low, high = 32_000, ENTRY_SIZE_MAX_BYTES
        while high - low > 1:
            middle = (low + high) // 2
            try:
                log._writer.prepare(sized(middle))
                low = middle
            except TooLargeError:
                high = middle
        # Even in the longest batch what is stored stays within the limit.
        log.append_many([sized(low)] * 2)
        with pytest.raises(TooLargeError):
            log.append(sized(low + 1))
    longest = max(len(line) for line in open_source(path).lines())
    assert longest <= ENTRY_SIZE_MAX_BYTES
    assert longest > ENTRY_SIZE_MAX_BYTES - 1_000


def test_a_rotation_to_longer_signatures_leaves_what_waits_within_the_limits(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with create(path) as log:
        prepared = log._writer.prepare(draft(1, actor_context={"padding": "x" * 60_000}))
        log.rotate_key(MemorySigner(ML_DSA_65))
        with pytest.raises(TooLargeError):
            log._queue.append([prepared])
        log.append(draft(2))
    check_log(path)


# --- a cryptography without it ---


@BOTH
def test_without_it_the_verdict_is_unknown_not_tampered(tmp_path: Path, without: Any, algorithm: str) -> None:
    path = tmp_path / "log"
    with create(path, signer=MemorySigner(algorithm)) as log:
        log.append_many(drafts(range(5)))
    key_id = read_rules(open_source(path)).key_ids[0]
    without()
    for trust in ([], [key_id]):
        report = judge_log(path, remember=False, trust=trust)
        assert report.verdict == Verdict.UNKNOWN
        assert [(found.code, found.sequence_number) for found in report.findings] == [("entry.unverified", 0)]
        assert "6 signatures are ML-DSA" in report.findings[0].message


def test_without_it_rotations_are_followed_all_the_same(tmp_path: Path, without: Any) -> None:
    path = tmp_path / "log"
    with create(path, signer=MemorySigner()) as log:
        log.rotate_key(MemorySigner(ML_DSA_44))
        log.append(draft(1))
        log.rotate_key(MemorySigner("Ed25519"))
        log.append(draft(2))
    without()
    report = judge_log(path, remember=False)
    # The consent, an entry, and the rotation away.
    assert [found.message[:12] for found in report.findings] == ["3 signatures"]
    assert report.verdict == Verdict.UNKNOWN


def test_without_it_damage_is_found_all_the_same(tmp_path: Path, without: Any) -> None:
    log = LogMaker(tmp_path / "log", key=Key(1, ML_DSA_44))
    log.append(draft(1), draft(2))
    log.lines[2] = log.lines[2].replace(b"T-2", b"T-x")
    log.lay_out()
    without()
    report = verify(log, tmp_path)
    assert codes(report) == [("entry.action_hash", 2), ("entry.unverified", 0)]
    assert report.verdict == Verdict.TAMPERED


@BOTH
def test_without_it_no_key_is_made_and_no_signature_verified(without: Any, algorithm: str) -> None:
    key = public_key(make_key(algorithm).public_key())
    without()
    with pytest.raises(MissingExtraError) as caught:
        make_key(algorithm)
    assert caught.value.extra == "cryptography>=48"
    bare = load_public_key(key.pem.encode())
    assert (bare.key, bare.key_id, bare.pem) == (None, key.key_id, key.pem)
    with pytest.raises(MissingExtraError):
        bare.verify(b"", b"")
