"""Entry signatures: what anyone can check with a library and a key, and every spelling that is refused."""

from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)
from tests.support import rfc6962
from tests.support.shapes import BOOT, ed25519_key, entry_id, p256_key, read, sealed, sign

from attestlog._internal.core.batch import Head, plan_batch, prepare
from attestlog._internal.core.checkpoint import Checkpoint, format_checkpoint
from attestlog._internal.core.genesis import Genesis, Settings, Software, draft_genesis
from attestlog._internal.core.hashes import EMPTY_ROOT, batch_message, leaf_hash
from attestlog._internal.core.merkle import inclusion_paths
from attestlog._internal.core.note import VerifierKey
from attestlog._internal.core.pointer import Pointers
from attestlog._internal.core.policy import Policy
from attestlog._internal.core.signature import (
    BATCH_ENTRIES_MAX,
    EntrySignature,
    format_batch,
    format_plain,
    load_public_key,
    parse_signature,
    public_key,
    signed_message,
    verify_entry_signature,
)
from attestlog.errors import InclusionError, MalformedSignatureError, SignatureInvalidError

P256, ED = "ECDSA-P256-SHA256", "Ed25519"
PUBLIC = {P256: public_key(p256_key().public_key()), ED: public_key(ed25519_key().public_key())}
PRIVATE: dict[str, Any] = {P256: p256_key(), ED: ed25519_key()}
HASH = sha256(b"an entry").hexdigest()
RAW = bytes.fromhex(HASH)


def batch_texts(algorithm: str, hashes: list[bytes]) -> list[str]:
    root, paths = inclusion_paths([leaf_hash(digest) for digest in hashes])
    signature = sign(PRIVATE[algorithm], batch_message(root))
    return [format_batch(signature, index, len(hashes), path) for index, path in enumerate(paths)]


HASHES = [sha256(bytes([number])).digest() for number in range(5)]
TEXTS = batch_texts(P256, HASHES)


def test_a_plain_signature_needs_nothing_of_ours_to_verify() -> None:
    """The key from the genesis payload, the entry, a library: RFC 8785 and SHA-256 are not even needed."""
    key = PUBLIC[P256]
    vkey = VerifierKey("example.com/log", 1, bytes(32))
    made = Genesis("example.com/log", {key.key_id: key}, [vkey], Policy(), Settings(), Software("x", "1"))
    first = prepare(draft_genesis(made), Policy(), entry_id=entry_id(0), environment={})
    plan = plan_batch(
        Head(), [first], 0, algorithm=P256, key_id=key.key_id, batched=True, pointers=Pointers()
    )
    entry = read(plan.seal([sign(p256_key(), message) for message in plan.messages])[0])

    assert entry.action_payload is not None
    (stated,) = entry.action_payload["entry_keys"]
    loaded = load_pem_public_key(stated["public_key"].encode())
    assert isinstance(loaded, EllipticCurvePublicKey)
    loaded.verify(bytes.fromhex(entry.hsm_signature), bytes.fromhex(entry.entry_hash), ECDSA(SHA256()))
    spki = loaded.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert entry.signing_key_id == stated["key_id"] == sha256(spki).hexdigest()


def test_an_ed25519_signature_needs_nothing_of_ours_to_verify() -> None:
    entry = read(sealed([BOOT], ed25519_key())[0])
    raw = ed25519_key().public_key().public_bytes_raw()
    Ed25519PublicKey.from_public_bytes(raw).verify(
        bytes.fromhex(entry.hsm_signature), bytes.fromhex(entry.entry_hash)
    )


@pytest.mark.parametrize("algorithm", [P256, ED])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 33])
def test_a_batch_signature_verifies_by_the_rfc_alone(algorithm: str, size: int) -> None:
    hashes = [sha256(bytes([number, 1])).digest() for number in range(size)]
    message = b"attestlog/batch/v1\n" + rfc6962.mth(hashes)
    for index, text in enumerate(batch_texts(algorithm, hashes)):
        signature, position, path = text.split(":")
        assert position == f"{index}/{size}"
        assert path == b"".join(rfc6962.path(index, hashes)).hex()
        PUBLIC[algorithm].verify(bytes.fromhex(signature), message)
        verify_entry_signature(PUBLIC[algorithm], f"{algorithm}+BATCH", text, hashes[index].hex())


@pytest.mark.parametrize("algorithm", [P256, ED])
def test_a_signature_covers_this_entry_only(algorithm: str) -> None:
    text = format_plain(sign(PRIVATE[algorithm], RAW))
    verify_entry_signature(PUBLIC[algorithm], algorithm, text, HASH)
    with pytest.raises(SignatureInvalidError) as caught:
        verify_entry_signature(PUBLIC[algorithm], algorithm, text, sha256(b"another").hexdigest())
    assert caught.value.key_id == PUBLIC[algorithm].key_id


def test_a_batch_signature_covers_each_entry_at_its_place_only() -> None:
    for index, text in enumerate(TEXTS):
        for other, digest in enumerate(HASHES):
            if other != index:
                with pytest.raises(SignatureInvalidError):
                    verify_entry_signature(PUBLIC[P256], f"{P256}+BATCH", text, digest.hex())


def test_a_plain_signature_over_a_root_or_a_leaf_is_none() -> None:
    root, _ = inclusion_paths([leaf_hash(RAW)])
    for message in (root, batch_message(root), HASH.encode(), sha256(RAW).digest()):
        with pytest.raises(SignatureInvalidError):
            verify_entry_signature(PUBLIC[ED], ED, sign(PRIVATE[ED], message).hex(), HASH)


def test_a_plain_signature_is_none_over_a_batch_of_one() -> None:
    plain = sign(PRIVATE[ED], RAW)
    with pytest.raises(SignatureInvalidError):
        verify_entry_signature(PUBLIC[ED], f"{ED}+BATCH", format_batch(plain, 0, 1, b""), HASH)
    (batched,) = batch_texts(ED, [RAW])
    verify_entry_signature(PUBLIC[ED], f"{ED}+BATCH", batched, HASH)  # a batch of one may use either form
    with pytest.raises(SignatureInvalidError):
        verify_entry_signature(PUBLIC[ED], ED, batched.split(":")[0], HASH)


@pytest.mark.parametrize("bit", range(0, 560, 37))
def test_a_changed_bit_anywhere_is_refused(bit: int) -> None:
    data = bytearray(bytes.fromhex(TEXTS[2].split(":")[0]))
    data[bit // 8 % len(data)] ^= 1 << bit % 8
    mutant = ":".join([data.hex(), *TEXTS[2].split(":")[1:]])
    with pytest.raises(SignatureInvalidError):
        verify_entry_signature(PUBLIC[P256], f"{P256}+BATCH", mutant, HASHES[2].hex())


@pytest.mark.parametrize("algorithm", [P256, ED])
@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "a", "abc", "AB", "aB", "0xab", "ab ", " ab", "ab\n", "a b", "ab:", "ab:0/1:", ":"),
        *("é", "１２", "gg", "-1", "ab" * 10 + "a"),
    ],
)
def test_a_plain_signature_has_one_spelling(algorithm: str, text: str) -> None:
    with pytest.raises(MalformedSignatureError):
        parse_signature(text, algorithm)
    with pytest.raises(MalformedSignatureError):
        verify_entry_signature(PUBLIC[algorithm], algorithm, text, HASH)


NODE = "ab" * 32


@pytest.mark.parametrize(
    "text",
    [
        *("", "ab", "ab:0/1", ":0/1:", "ab:/1:", "ab:0/:", "ab:0:1:", "ab:0/1:" + NODE),
        *(
            "ab:0/1::",
            "abc:0/1:",
            "AB:0/1:",
            "ab:00/1:",
            "ab:0/01:",
            "ab:+0/1:",
            "ab:-0/1:",
            "ab: 0/1:",
            "ab:0/1 :",
            "ab:0/1:\n",
        ),
        *("ab:0/0:", "ab:1/1:", "ab:2/1:", "ab:0/2:", f"ab:0/2:{NODE[:-2]}", f"ab:0/2:{NODE}{NODE}"),
        *(f"ab:0/2:{NODE.upper()}", f"ab:0/2:{NODE[:-1]}g", f"ab:2/3:{NODE}{NODE}", f"ab:１/２:{NODE}"),
        *(f"ab:0/1025:{NODE * 11}", f"ab:1024/1025:{NODE}", "ab:0/99999:", "ab:0/100000:"),
        *(f"ab:0/2:{NODE}:", f"ab:0/2:{NODE} ", f" ab:0/2:{NODE}", f"ab:0/2:{NODE}\n"),
        *(f"ab:0\u0662/2:{NODE}", "ab:0/4294967297:"),
        "ab:0/" + "9" * 10_000 + ":",
    ],
)
def test_a_batch_signature_has_one_spelling(text: str) -> None:
    with pytest.raises(MalformedSignatureError):
        parse_signature(text, f"{P256}+BATCH")
    with pytest.raises(MalformedSignatureError):
        verify_entry_signature(PUBLIC[P256], f"{P256}+BATCH", text, HASH)


def test_batch_sizes_at_the_limit() -> None:
    parsed = parse_signature(f"ab:1023/1024:{NODE * 10}", f"{P256}+BATCH")
    assert parsed == EntrySignature(b"\xab", 1023, BATCH_ENTRIES_MAX, bytes.fromhex(NODE) * 10)
    assert parse_signature("ab:0/1:", f"{P256}+BATCH") == EntrySignature(b"\xab", 0, 1, b"")


def test_what_is_parsed_is_formatted_back() -> None:
    for text in TEXTS:
        parsed = parse_signature(text, f"{P256}+BATCH")
        assert format_batch(parsed.signature, parsed.index, parsed.size, parsed.path) == text
    assert format_plain(parse_signature("00ff", P256).signature) == "00ff"


def test_a_wrong_length_of_path_never_reaches_the_tree() -> None:
    with pytest.raises(InclusionError):
        signed_message(EntrySignature(b"\xab", 0, 2, b""), RAW)


@pytest.mark.parametrize(
    "algorithm",
    [
        *(ED, f"{ED}+BATCH", "", "+BATCH", f"{P256}+BATCH+BATCH", f"{P256}+batch", P256.lower(), f"{P256} "),
        *("ECDSA", "none", "ML-DSA-44", "ECDSA-P384-SHA384"),
    ],
)
def test_an_algorithm_is_not_taken_for_another(algorithm: str) -> None:
    """Both forms are tried: nothing a P-256 key signed verifies under a name that is not its own."""
    texts = [format_plain(sign(PRIVATE[P256], RAW)), batch_texts(P256, [RAW])[0]]
    for text in texts:
        with pytest.raises((SignatureInvalidError, MalformedSignatureError)):
            verify_entry_signature(PUBLIC[P256], algorithm, text, HASH)


def test_the_form_follows_the_algorithm() -> None:
    plain, (batched,) = format_plain(sign(PRIVATE[P256], RAW)), batch_texts(P256, [RAW])
    with pytest.raises(MalformedSignatureError):
        verify_entry_signature(PUBLIC[P256], f"{P256}+BATCH", plain, HASH)
    with pytest.raises(MalformedSignatureError):
        verify_entry_signature(PUBLIC[P256], P256, batched, HASH)


def test_another_key_of_the_same_kind_is_another_key() -> None:
    other = public_key(p256_key("other").public_key())
    with pytest.raises(SignatureInvalidError):
        verify_entry_signature(other, P256, format_plain(sign(PRIVATE[P256], RAW)), HASH)


@pytest.mark.parametrize(
    "entry_hash",
    ["", "zz", HASH[:-1], HASH + "0", HASH.upper(), HASH + "\n", f"{HASH[:30]}  {HASH[32:]}"],
)
def test_an_entry_hash_that_is_none(entry_hash: str) -> None:
    text = format_plain(sign(PRIVATE[P256], RAW))
    with pytest.raises(MalformedSignatureError, match="entry hash"):
        verify_entry_signature(PUBLIC[P256], P256, text, entry_hash)


def test_der_has_one_spelling() -> None:
    der = sign(PRIVATE[P256], RAW)
    r, s = decode_dss_signature(der)
    assert encode_dss_signature(r, s) == der
    long_length = b"\x30\x81" + der[1:]
    padded_r = b"\x30" + bytes([der[1] + 1, 0x02, der[3] + 1, 0]) + der[4:]
    raw = r.to_bytes(32) + s.to_bytes(32)
    for wrong in (der + b"\0", der[:-1], long_length, padded_r, raw, b"", b"\x30\x00"):
        with pytest.raises(SignatureInvalidError):
            PUBLIC[P256].verify(wrong, RAW)


def spki(key: Any) -> bytes:
    return bytes(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def test_public_keys_are_loaded_from_pem_and_der() -> None:
    for algorithm, key in PUBLIC.items():
        for data in (key.spki, key.pem.encode(), b"\n" + key.pem.encode()):
            loaded = load_public_key(data)
            assert (loaded.algorithm, loaded.spki, loaded.key_id) == (algorithm, key.spki, key.key_id)
        assert key.key_id == sha256(key.spki).hexdigest()


OTHER_KEYS: dict[str, Any] = {
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
    "Ed448": ed448.Ed448PrivateKey.generate,
    "X25519": x25519.X25519PrivateKey.generate,
}


@pytest.mark.parametrize("kind", OTHER_KEYS)
def test_keys_of_other_kinds_are_refused(kind: str) -> None:
    key = OTHER_KEYS[kind]()
    with pytest.raises(MalformedSignatureError):
        load_public_key(spki(key))
    with pytest.raises(MalformedSignatureError):
        public_key(key.public_key())


def test_what_is_no_public_key() -> None:
    private = p256_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    der = PUBLIC[P256].spki
    pem = PUBLIC[P256].pem.encode()
    wrong = [b"", b"\0", b"-----", private, der[:-1], der + b"\0", der[:-64] + bytes(64), pem[:60], pem[:-40]]
    wrong += [pem.replace(b"PUBLIC KEY", b"CERTIFICATE"), pem.replace(b"M", b"!", 1), b"\xff" * 91]
    for data in wrong:
        with pytest.raises(MalformedSignatureError):
            load_public_key(data)
    for key in (p256_key(), None, "key", PUBLIC[P256]):
        with pytest.raises(MalformedSignatureError):
            public_key(key)


def test_what_different_keys_sign_differs_in_length_already() -> None:
    """So that one key may sign entries, batches and checkpoints, and none can pass for another."""
    shortest = len(format_checkpoint(Checkpoint("a", 0, EMPTY_ROOT)))
    lookalike = len(format_checkpoint(Checkpoint("attestlog/batch/v1", 0, EMPTY_ROOT)))
    assert len(RAW) == 32 < shortest
    assert len(batch_message(RAW)) == 51 < lookalike
