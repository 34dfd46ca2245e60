"""The log's keys at work: whether a signer holds the right one, and signatures that are verified.

Nothing a signer returns is stored before it verifies under the log's own key.
"""

from __future__ import annotations

from functools import partial

from attestlog.core.batch import Plan
from attestlog.core.checkpoint import Checkpoint, sign_checkpoint
from attestlog.core.genesis import Genesis
from attestlog.core.note import ED25519 as NOTE_ED25519
from attestlog.core.note import VerifierKey
from attestlog.core.signature import ED25519, PublicKey
from attestlog.errors import MalformedConfigError, SignatureInvalidError, SignerError
from attestlog.signers import Signer
from attestlog.signers.asking import ask, bad_signature


def signer_vkey(origin: str, signer: Signer) -> VerifierKey:
    """The checkpoint key that this signer holds. Raises MalformedConfigError unless it is Ed25519."""
    key = signer.public_key
    if key.algorithm != ED25519:
        raise MalformedConfigError(
            f"checkpoint key is {key.algorithm}, want {ED25519}", member="checkpoint_signer"
        )
    return VerifierKey(origin, NOTE_ED25519, key.key.public_bytes_raw())  # type: ignore[union-attr]


def checkpoint_key(genesis: Genesis, signer: Signer) -> VerifierKey:
    """The log's checkpoint key that this signer holds. Raises SignerError if it is none of the log's."""
    vkey = signer_vkey(genesis.origin, signer)
    if vkey not in genesis.checkpoint_keys:
        raise SignerError(f"checkpoint signer holds key {vkey.key_id.hex()}, which is not the log's")
    return vkey


def sign_message(signer: Signer, key: PublicKey, message: bytes) -> bytes:
    """The signature, verified before it is used for anything. Raises SignerError."""
    signature = ask(signer, message)
    try:
        key.verify(signature, message)
    except SignatureInvalidError:
        raise bad_signature(signer) from None
    return signature


def sign_plan(signer: Signer, key: PublicKey, plan: Plan) -> list[bytes]:
    """A signature for each message. Raises SignerError."""
    return [sign_message(signer, key, message) for message in plan.messages]


def sign_note(signer: Signer, vkey: VerifierKey, checkpoint: Checkpoint) -> bytes:
    """The signed note, verified before it is stored. Raises SignerError."""
    try:
        return sign_checkpoint(checkpoint, [(vkey, partial(ask, signer))])
    except SignatureInvalidError:
        raise bad_signature(signer) from None
