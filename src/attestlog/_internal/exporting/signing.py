"""Who signs the forms that are signed, and what over: a key that the log's readers know already.

A receipt is signed by the log's own checkpoint key, over a root that this key has signed already, in the
stored checkpoint: no export commits the log to anything new. An envelope is signed by the same key, or by one
that is given.
"""

from __future__ import annotations

from typing import NamedTuple

from attestlog._internal.core.checkpoint import Checkpoint
from attestlog._internal.core.genesis import open_log_checkpoint
from attestlog._internal.core.merkle import prove_inclusion
from attestlog._internal.core.note import ED25519 as NOTE_ED25519
from attestlog._internal.core.signature import ECDSA_P256, ED25519, PublicKey
from attestlog._internal.exporting import cose, dsse
from attestlog._internal.exporting.contract import About, Exported
from attestlog._internal.exporting.keys import note_public_key
from attestlog._internal.signers.asking import sign_message
from attestlog._internal.signers.contract import Signer
from attestlog._internal.storage.contract import LogSource
from attestlog.errors import NotFoundError, SignerError


class Receipts:
    """Makes the receipts of one log's entries, all over its stored checkpoint."""

    def __init__(self, log: LogSource, signer: Signer) -> None:
        """Raises SignerError unless the signer holds the log's checkpoint key.

        Raises NotFoundError without a checkpoint, VerificationError, MissingExtraError.
        """
        genesis = log.genesis()
        key = signer.public_key
        known = [
            note_public_key(vkey).key_id for vkey in genesis.checkpoint_keys if vkey.kind == NOTE_ED25519
        ]
        if key.key_id not in known:
            raise SignerError(
                f"the signer holds key {key.key_id[:16]}, want the log's checkpoint key", expected=known
            )
        self._hashes = log.hashes
        self.checkpoint: Checkpoint = open_log_checkpoint(log.stored_checkpoint(), genesis)
        self._protected = cose.protected_header(self.checkpoint, bytes.fromhex(key.key_id))
        structure = cose.signed_structure(self._protected, self.checkpoint.root)
        self._signature = sign_message(signer, key, structure)

    def receipt(self, item: Exported) -> bytes:
        """Raises NotFoundError for an entry that the checkpoint does not cover, CorruptError."""
        size, number = self.checkpoint.size, item.entry.sequence_number
        if number >= size:
            raise NotFoundError(
                f"the checkpoint covers {size} entries, not entry {number}",
                sequence_number=number, checkpoint_size=size,
            )  # fmt: skip
        path = prove_inclusion(number, size, self._hashes)
        entry_hash = bytes.fromhex(item.entry.entry_hash)
        return cose.receipt(
            self._protected, self._signature, size=size, index=number, path=path, entry_hash=entry_hash
        )


class Envelopes(NamedTuple):
    """Makes signed statements about a log's entries."""

    about: About
    signer: Signer

    def envelope(self, item: Exported) -> bytes:
        """Raises SignerError."""
        key = self.key
        payload = dsse.statement(item, self.about)
        signature = sign_message(self.signer, key, dsse.preauthentication(payload))
        return dsse.envelope(payload, key.key_id, signature)

    @property
    def key(self) -> PublicKey:
        """Raises SignerError for a key of another kind than verifiers of DSSE know."""
        key = self.signer.public_key
        if key.algorithm not in {ED25519, ECDSA_P256}:
            raise SignerError(f"the signer's key is {key.algorithm}, want {ED25519} or {ECDSA_P256}")
        return key
