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
from attestlog._internal.core.rules import Rules
from attestlog._internal.core.signature import ED25519, ML_DSA_44, PublicKey
from attestlog._internal.signers import Passphrase, Signer, open_signer
from attestlog._internal.signers.asking import note_key, sign_message, sign_verified
from attestlog._internal.storage.contract import Kept, Store
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
        self._applied = 0
        """How many entries are folded into `rules`."""
        self._saved = 0
        """How many of them the store has noted (see `Governing.keep`)."""
        self._lines: list[bytes] = []
        """The governing entries among them, as stored bytes."""

    def load(self, head: Head, signer: Signer | None, *, is_chosen: bool) -> None:
        """Find the rules at the head, and the signer to use: this one, or else a configured one.

        `is_chosen`: it must be this one. Raises SignerError if no signer holds a key in force, StorageError,
        MalformedConfigError.
        """
        self.catch_up(head)
        try:
            self._choose(signer, is_chosen=is_chosen)
        except WrongKeyError:
            if not self._saved:
                raise
            # What the store noted is no evidence. Before a signer is refused, the entries are read again.
            self.rules, self._lines = Rules.of(self._store.genesis), []
            self._applied = self._saved = 0
            self._apply_new(head)
            self._choose(signer, is_chosen=is_chosen)

    def catch_up(self, head: Head) -> None:
        """Apply what entries up to the head change. Raises StorageError."""
        if self._applied == 0:
            kept = self._store.governing.kept(head.size)
            if kept is not None:
                self.rules, self._lines = self.rules.following(kept.lines)
                self._applied = self._saved = kept.size
        if self._applied != head.size:
            self._apply_new(head)

    def rules_at(self, sequence_number: int) -> Rules:
        """Those that entry `sequence_number`, which is there, stands under."""
        if self.rules.start <= sequence_number:
            return self.rules
        return Rules.of(self._store.genesis).following(self._lines, stop=sequence_number)[0]

    def rules_after(self, plan: Plan, lines: Sequence[bytes]) -> Rules:
        """The rules once this batch is stored; raises RuleChangeError for a change that does not hold."""
        return self.rules.after(decode_line(lines[-1])) if plan.prepared[-1].stands_alone else self.rules

    def advance(self, size: int, line: bytes, rules: Rules) -> None:
        """A batch is durable: the log has this size, its last entry is this line; `rules` as of then."""
        self._applied = size
        if rules is not self.rules:
            self.rules = rules
            self._lines.append(line)
            self.save()

    def save(self) -> None:
        """Have the store note how far the changes are known, so that opening need not search for them."""
        if self._saved != self._applied:
            self._store.governing.keep(Kept(self._applied, self._lines))
            self._saved = self._applied

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

    def _apply_new(self, head: Head) -> None:
        self.rules, changes = self.rules.following(self._store.governing.since(self._applied, head.size))
        self._lines += changes
        self._applied = head.size

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
            raise WrongKeyError(
                f"signer holds key {found[:16]}, the log is signed by {self._keys_in_force()}",
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
