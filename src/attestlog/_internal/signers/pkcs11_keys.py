"""Keys in a PKCS#11 token: found without ambiguity, their public half read, new ones made locked down."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import pkcs11
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

from attestlog._internal.core.signature import ECDSA_P256, ED25519, PublicKey, public_key
from attestlog._internal.signers.pkcs11_uri import KeyUri
from attestlog.errors import SignerError

_P256_OID: Final = bytes.fromhex("06082a8648ce3d030107")
_ED25519_OID: Final = bytes.fromhex("06032b6570")
_ED25519_NAME: Final = b"\x13\x0cedwards25519"
"""PKCS#11 3.0 allows either; tools write both."""


class Way(NamedTuple):
    """How a token is asked for a signature."""

    mechanism: Mechanism
    is_given_hash: bool = False
    """SHA-256 of the message, and not the message."""


class Scheme(NamedTuple):
    """How tokens make keys and signatures of an algorithm."""

    ways: tuple[Way, ...]
    """In order of preference."""
    generates: Mechanism
    key_type: KeyType
    curves: tuple[bytes, ...]


SCHEMES: Final = {
    ECDSA_P256: Scheme(
        # CKM_ECDSA takes the hash. Given anything longer, it signs the first 32 bytes of it and says nothing.
        (Way(Mechanism.ECDSA, is_given_hash=True), Way(Mechanism.ECDSA_SHA256)),
        Mechanism.EC_KEY_PAIR_GEN, KeyType.EC, (_P256_OID,),
    ),
    ED25519: Scheme(
        (Way(Mechanism.EDDSA),), Mechanism.EC_EDWARDS_KEY_PAIR_GEN, KeyType.EC_EDWARDS,
        (_ED25519_OID, _ED25519_NAME),
    ),
}  # fmt: skip

PRIVATE_TEMPLATE: Final = {
    Attribute.TOKEN: True, Attribute.PRIVATE: True, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False,
    Attribute.SIGN: True, Attribute.DECRYPT: False, Attribute.UNWRAP: False, Attribute.DERIVE: False,
}  # fmt: skip
"""Stays in the token, signs and does nothing else: by the driver's defaults it would decrypt and derive."""
PUBLIC_TEMPLATE: Final = {
    Attribute.TOKEN: True, Attribute.VERIFY: True, Attribute.ENCRYPT: False, Attribute.WRAP: False,
    Attribute.DERIVE: False,
}  # fmt: skip


def find_key(session: Any, uri: KeyUri) -> Any:
    """The one private key that a URI names. Raises SignerError if there is none, or more than one."""
    found = _objects(session, ObjectClass.PRIVATE_KEY, uri.object, uri.id)
    if not found:
        raise SignerError("the token has no such private key", reason="no_key")
    if len(found) > 1:
        raise SignerError(f"{len(found)} private keys are meant, want one", reason="ambiguous")
    return found[0]


def find_public_key(session: Any, key: Any) -> PublicKey | None:
    """The public half that the token keeps beside a private key, by its id, else its label; None: nothing.

    Raises SignerError if it is no P-256 or Ed25519 key, or if several say different things.
    """
    key_id = read(key, Attribute.ID) or None
    label = None if key_id else read(key, Attribute.LABEL) or None
    found = _objects(session, ObjectClass.PUBLIC_KEY, label, key_id) if key_id or label else []
    keys = {decoded.spki: decoded for decoded in map(decode_public_key, found)}
    if len(keys) > 1:
        raise SignerError(
            f"{len(keys)} public keys stand beside the private key, want one", reason="ambiguous"
        )
    return next(iter(keys.values()), None)


def decode_public_key(held: Any) -> PublicKey:
    """A public object as a key. Raises SignerError unless it is P-256 or Ed25519."""
    curve, point = bytes(held[Attribute.EC_PARAMS]), bytes(held[Attribute.EC_POINT])
    try:
        if curve in SCHEMES[ED25519].curves:
            return public_key(Ed25519PublicKey.from_public_bytes(_unwrapped(point, 32)))
        if curve in SCHEMES[ECDSA_P256].curves:
            return public_key(EllipticCurvePublicKey.from_encoded_point(SECP256R1(), _unwrapped(point, 65)))
    except ValueError:
        raise SignerError("the token's public key is no point of its curve") from None
    raise SignerError(f"the key is on curve {curve.hex()}, want P-256 or Ed25519")


def make_key(session: Any, algorithm: str, uri: KeyUri, key_id: bytes) -> None:
    """A new key pair in the token. Raises SignerError if its label or id is taken: none is ever shadowed."""
    scheme = SCHEMES[algorithm]
    for label, taken_id, name in ((uri.object, None, "label"), (None, key_id, "id")):
        kinds = (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY)
        if (label or taken_id) and any(_objects(session, kind, label, taken_id) for kind in kinds):
            raise SignerError(f"the token has a key of this {name} already", reason="exists")
    parameters = session.create_domain_parameters(
        scheme.key_type, {Attribute.EC_PARAMS: scheme.curves[0]}, local=True
    )
    parameters.generate_keypair(
        mechanism=scheme.generates, store=True, label=uri.object, id=key_id,
        private_template=PRIVATE_TEMPLATE, public_template=PUBLIC_TEMPLATE,
    )  # fmt: skip


def read(held: Any, attribute: Attribute) -> Any:
    """An attribute, or None where the token does not tell it."""
    try:
        return held[attribute]
    except (pkcs11.AttributeTypeInvalid, pkcs11.AttributeSensitive):
        return None


def _objects(session: Any, kind: ObjectClass, label: str | None, key_id: bytes | None) -> list[Any]:
    wanted: dict[Attribute, Any] = {Attribute.CLASS: kind}
    if label is not None:
        wanted[Attribute.LABEL] = label
    if key_id is not None:
        wanted[Attribute.ID] = key_id
    return list(session.get_objects(wanted))


def _unwrapped(point: bytes, size: int) -> bytes:
    """CKA_EC_POINT is a DER OCTET STRING of the point; some tokens leave the two bytes away."""
    return point[2:] if len(point) == size + 2 and point[:2] == bytes((0x04, size)) else point
