"""The log's keys at work: whether a signer holds the right one, and signatures that are verified.

Nothing a signer returns is stored before it verifies under the log's own key.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from attestlog._internal.core.batch import Plan
from attestlog._internal.core.checkpoint import Checkpoint, format_checkpoint
from attestlog._internal.core.cosignature import check_every_type, cosign
from attestlog._internal.core.genesis import Genesis
from attestlog._internal.core.note import (
    COSIGNATURE_ML_DSA_44,
    NoteSignature,
    VerifierKey,
    format_note,
    sign_note,
)
from attestlog._internal.core.note import ED25519 as NOTE_ED25519
from attestlog._internal.core.signature import ED25519, ML_DSA_44, PublicKey
from attestlog._internal.signers import Signer
from attestlog._internal.signers.asking import note_key, sign_message, sign_verified
from attestlog.errors import SignerError, TrustError

_KINDS: Final = {ED25519: NOTE_ED25519, ML_DSA_44: COSIGNATURE_ML_DSA_44}

KeyHolder = tuple[Signer, VerifierKey]


def signer_vkey(origin: str, signer: Signer, want: str = ED25519) -> VerifierKey:
    """The checkpoint key that this signer holds. Raises MalformedConfigError unless it is for `want`."""
    member = "checkpoint_signer" if want == ED25519 else "checkpoint_pq_signer"
    return note_key(origin, signer, {want: _KINDS[want]}, what="checkpoint key", member=member)


def checkpoint_key(genesis: Genesis, signer: Signer, want: str = ED25519) -> VerifierKey:
    """The log's checkpoint key that this signer holds. Raises SignerError if it is none of the log's."""
    vkey = signer_vkey(genesis.origin, signer, want)
    if vkey not in genesis.checkpoint_keys:
        raise SignerError(f"checkpoint signer holds key {vkey.key_id.hex()}, which is not the log's")
    return vkey


def key_holders(genesis: Genesis, signer: Signer, pq_signer: Signer | None) -> list[KeyHolder]:
    """Who signs the log's checkpoints: one for each type of key in the genesis. Raises SignerError."""
    holders = [(signer, checkpoint_key(genesis, signer))]
    if pq_signer is not None:
        holders.append((pq_signer, checkpoint_key(genesis, pq_signer, ML_DSA_44)))
    try:
        check_every_type([vkey for _, vkey in holders], genesis.checkpoint_keys)
    except TrustError:
        raise SignerError(f"the log's checkpoints need a signature with {ML_DSA_44} too: no signer") from None
    return holders


def sign_plan(signer: Signer, key: PublicKey, plan: Plan) -> list[bytes]:
    """A signature for each message. Raises SignerError."""
    return [sign_message(signer, key, message) for message in plan.messages]


def sign_head(holders: Sequence[KeyHolder], checkpoint: Checkpoint, now_us: int) -> bytes:
    """The checkpoint as a note, with a line of each, verified before it is stored. Raises SignerError.

    `now_us` is what an ML-DSA line says of the time.
    """
    text = format_checkpoint(checkpoint)
    lines: list[NoteSignature] = []
    for signer, vkey in holders:
        if vkey.kind == NOTE_ED25519:
            make = partial(sign_note, text, vkey)
        else:
            make = partial(cosign, text, vkey, max(0, now_us // 1_000_000))
        lines.append(sign_verified(signer, make))
    return format_note(text, lines)
