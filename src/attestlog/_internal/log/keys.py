"""The log's keys at work: the rules in force at its head, and who signs entries and checkpoints.

Nothing that a signer returns is stored before it verifies under the log's own
key. Which keys count is decided by entries (`core.rules`), never here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from attestlog._internal.config import read_config
from attestlog._internal.core.batch import Head, Plan
from attestlog._internal.core.checkpoint import Checkpoint, format_checkpoint
from attestlog._internal.core.cosignature import check_every_type, cosign
from attestlog._internal.core.entry import decode_line
from attestlog._internal.core.genesis import Genesis
from attestlog._internal.core.note import COSIGNATURE_ML_DSA_44, VerifierKey, format_note, sign_note
from attestlog._internal.core.note import ED25519 as NOTE_ED25519
from attestlog._internal.core.pointer import Pointers
from attestlog._internal.core.rules import HoldsUnreadError, Rules
from attestlog._internal.core.signature import ED25519, ML_DSA_44, PublicKey
from attestlog._internal.in_force import follow_rules, read_holds, read_rules
from attestlog._internal.signers import Passphrase, Signer, open_signer
from attestlog._internal.signers.asking import note_key, sign_message, sign_verified
from attestlog._internal.storage.contract import Store
from attestlog.errors import AttestlogError, SignerError, TrustError, WrongKeyError

_KINDS: Final = {ED25519: NOTE_ED25519, ML_DSA_44: COSIGNATURE_ML_DSA_44}

KeyHolder = tuple[Signer, VerifierKey]
"""Who signs checkpoints, and as which of the log's keys."""


class InForce:
    """What is in force at the head of a store: the rules, and the signer that holds a key they name.

    Both follow what other processes write. Used while holding the log's lock, by one thread at a time;
    `rules` and `algorithm` may be read by any.
    """

    def __init__(self, store: Store, passphrase: Passphrase | None) -> None:
        self._store, self._passphrase = store, passphrase
        self._signer: Signer | None = None
        self._key_id = self.algorithm = ""
        """Of the signer's key; empty until `load`."""
        self.rules = Rules.of(store.genesis)
        self._head: Head | None = None
        """Where the log stood when these were its rules; None before the first turn."""

    def load(self, head: Head, signer: Signer | None, *, is_chosen: bool) -> None:
        """Find the rules at the head, and the signer to use: this one, or else a configured one.

        `is_chosen`: it must be this one. Raises SignerError if no signer holds a key in force,
        MalformedConfigError, and as `catch_up`.
        """
        self.catch_up(head)
        self._choose(signer, is_chosen=is_chosen)

    def catch_up(self, head: Head) -> None:
        """Apply what entries up to the head change. Legal holds are read when they are asked for.

        Raises VerificationError for entries that do not hold, StorageError for what cannot be read.
        """
        known = self._head
        if known is None or known.size > head.size:
            self.rules = read_rules(self._store.source, size=head.size, with_holds=False)
        elif known.size < head.size:
            self.rules = follow_rules(self.rules, self._store.source, known, head.size)
        self._head = head

    def read_holds(self) -> Rules:
        """The rules, with the legal holds in force."""
        self.rules = read_holds(self.rules, self._store.source)
        return self.rules

    def rules_at(self, sequence_number: int) -> Rules:
        """Those that entry `sequence_number`, which is there, stands under."""
        if self.rules.start <= sequence_number:
            return self.rules
        source = self._store.source
        pointers = Pointers.of(source.entry(sequence_number)) if sequence_number else None
        start = Rules.of(self._store.genesis)
        return start if pointers is None else start.at(pointers, source.line, with_holds=False)

    def rules_after(self, plan: Plan, lines: Sequence[bytes]) -> Rules:
        """The rules once this batch is stored; raises RuleChangeError for a change that does not hold."""
        if not plan.prepared[-1].stands_alone:
            return self.rules
        entry = decode_line(lines[-1])
        try:
            return self.rules.after(entry)
        except HoldsUnreadError:
            return self.read_holds().after(entry)

    def advance(self, head: Head, rules: Rules) -> None:
        """A batch is durable: the log stands at `head`, and `rules` are in force there."""
        self._head, self.rules = head, rules

    # --- the signer of entries ---

    def signer(self) -> tuple[PublicKey, Signer]:
        """A key in force and who holds it; after a rotation by another process, a configured signer.

        Raises SignerError if that signer cannot be opened: nothing can be signed until it can.
        """
        if self._signer is not None:
            key = self.rules.keys.get(self._key_id)
            if key is not None:
                return key, self._signer
        signer = self._open_named()
        self._replace(signer)
        return self._require(signer), signer

    def adopt(self, signer: Signer) -> None:
        """Sign with this from now on. Raises WrongKeyError unless it holds a key in force."""
        self._require(signer)
        self._replace(signer)

    def close(self) -> None:
        """Close the signer."""
        if self._signer is not None:
            self._signer.close()

    def _choose(self, signer: Signer | None, *, is_chosen: bool) -> None:
        if signer is not None and (is_chosen or self._key_of(signer) is not None):
            self.adopt(signer)
            return
        # The key was rotated between the reading of the configuration and the lock, or several are named.
        self.signer()
        if signer is not None:
            signer.close()

    def _open_named(self) -> Signer:
        """The first of the configured signers that holds a key in force."""
        named = read_config(self._store.source).signers
        problem: AttestlogError | None = None
        for uri in named.entries:
            try:
                signer = open_signer(uri, passphrase=self._passphrase)
            except AttestlogError as error:
                problem = problem or error
                continue
            try:
                self._require(signer)
            except WrongKeyError as error:
                problem = problem or error
                signer.close()
                continue
            return signer
        assert problem is not None
        if not isinstance(problem, WrongKeyError):
            message = f"{problem.message}; the log is signed by {self._keys_in_force()}"
            problem = problem.with_evidence(message, expected=self.rules.key_ids)
        raise problem

    def _key_of(self, signer: Signer) -> PublicKey | None:
        return self.rules.keys.get(signer.public_key.key_id)

    def _require(self, signer: Signer) -> PublicKey:
        key = self._key_of(signer)
        if key is None:
            found = signer.public_key.key_id
            was = f": {self.rules.retired(found)}" if found in self.rules.terms else ""
            raise WrongKeyError(
                f"signer holds key {found[:16]}, the log is signed by {self._keys_in_force()}{was}",
                expected=self.rules.key_ids, found=found,
            )  # fmt: skip
        return key

    def _keys_in_force(self) -> str:
        return ", ".join(key_id[:16] for key_id in self.rules.keys)

    def _replace(self, signer: Signer) -> None:
        old, self._signer, key = self._signer, signer, signer.public_key
        self._key_id, self.algorithm = key.key_id, key.algorithm
        if old is not None and old is not signer:
            old.close()


def sign_plan(signer: Signer, key: PublicKey, plan: Plan) -> list[bytes]:
    """A signature for each message of the plan, verified. Raises SignerError."""
    return [sign_message(signer, key, message) for message in plan.messages]


# --- the signers of checkpoints ---


def signer_vkey(origin: str, signer: Signer, want: str = ED25519) -> VerifierKey:
    """The checkpoint key that this signer holds. Raises MalformedConfigError unless it is for `want`."""
    member = "checkpoint_signer" if want == ED25519 else "checkpoint_pq_signer"
    return note_key(origin, signer, {want: _KINDS[want]}, what="checkpoint key", member=member)


def key_holders(genesis: Genesis, signer: Signer, pq_signer: Signer | None) -> list[KeyHolder]:
    """Who signs the log's checkpoints: one for each type of key in the genesis. Raises SignerError."""
    holders = [(signer, _checkpoint_key(genesis, signer, ED25519))]
    if pq_signer is not None:
        holders.append((pq_signer, _checkpoint_key(genesis, pq_signer, ML_DSA_44)))
    try:
        check_every_type([vkey for _, vkey in holders], genesis.checkpoint_keys)
    except TrustError:
        raise SignerError(f"the log's checkpoints need a signature with {ML_DSA_44} too: no signer") from None
    return holders


def sign_head(holders: Sequence[KeyHolder], checkpoint: Checkpoint, now_us: int) -> bytes:
    """The checkpoint as a note with a line of each holder, verified. Raises SignerError.

    `now_us`: the time that an ML-DSA line states.
    """
    text = format_checkpoint(checkpoint)
    lines = []
    for signer, vkey in holders:
        if vkey.kind == NOTE_ED25519:
            make = partial(sign_note, text, vkey)
        else:
            make = partial(cosign, text, vkey, max(0, now_us // 1_000_000))
        lines.append(sign_verified(signer, make))
    return format_note(text, lines)


def _checkpoint_key(genesis: Genesis, signer: Signer, want: str) -> VerifierKey:
    vkey = signer_vkey(genesis.origin, signer, want)
    if vkey not in genesis.checkpoint_keys:
        raise SignerError(f"checkpoint signer holds key {vkey.key_id.hex()}, which is not the log's")
    return vkey
