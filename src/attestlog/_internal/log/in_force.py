"""What is in force at the log's head: its rules, and the signer that holds the key they name.

Both follow what other processes write. Used within turns, by one thread at a
time; `rules` may be read by any.
"""

from __future__ import annotations

import contextlib
from functools import partial

from attestlog._internal.config import change_config, read_config, with_signers
from attestlog._internal.core.batch import Head
from attestlog._internal.core.entry import decode_line
from attestlog._internal.core.rules import Rules
from attestlog._internal.core.signature import PublicKey
from attestlog._internal.signers import Passphrase, Signer, open_signer
from attestlog._internal.storage.contract import Kept, Store
from attestlog.errors import AttestlogError, SignerError, WrongKeyError


class InForce:
    """The rules at the head of a store, and who signs under them."""

    def __init__(self, store: Store, passphrase: Passphrase | None) -> None:
        self._store, self._passphrase = store, passphrase
        self._signer: Signer | None = None
        self.rules = Rules.of(store.genesis)
        self._size = self._kept_size = 0
        """How far the entries are known, and how far that is written down."""
        self._lines: list[bytes] = []
        """Those that made the rules."""

    def begin(self, head: Head, signer: Signer | None, *, is_chosen: bool) -> None:
        """Find the rules at the head, and the signer to use: this one, or else one that log.toml names.

        `is_chosen`: it must be this one. Raises SignerError if there is none that holds a key in force,
        StorageError, MalformedConfigError.
        """
        self.catch_up(head)
        try:
            self._sign_with(signer, is_chosen=is_chosen)
        except WrongKeyError:
            if not self._kept_size:
                raise
            # `rules.jsonl` is no evidence: before it is said that another key is in force, the entries are.
            self._start_over()
            self._read_on(head)
            self._sign_with(signer, is_chosen=is_chosen)

    def catch_up(self, head: Head) -> None:
        """Take in what entries up to the head change. Raises StorageError."""
        if self._size == 0:
            kept = self._store.governing.kept(head.size)
            if kept is not None:
                self.rules, self._lines = self.rules.following(kept.lines)
                self._size = self._kept_size = kept.size
        if self._size != head.size:
            self._read_on(head)

    def advance(self, size: int, line: bytes, rules: Rules | None) -> None:
        """A batch is durable, and ends with this line; `rules`: those after it, if it changes them."""
        if rules is not None:
            self.rules = rules
            self._lines.append(line)
        self._size = size
        if rules is not None:
            self.keep()

    def keep(self) -> None:
        """Write down how far the changes are known, so that opening need not search for them."""
        if self._kept_size != self._size:
            self._store.governing.keep(Kept(self._size, self._lines))
            self._kept_size = self._size

    def after(self, line: bytes) -> Rules:
        """The rules after this line, a governing entry. Raises RuleChangeError."""
        return self.rules.after(decode_line(line))

    # --- the signer ---

    def use(self, signer: Signer) -> None:
        """Sign with this from now on: it holds the key that is in force now."""
        self._require(signer)
        self._replace(signer)

    def signer(self) -> tuple[PublicKey, Signer]:
        """A key in force and who holds it; after a rotation by another process, the one log.toml names.

        Raises SignerError if that cannot be had: nothing can be signed until it can.
        """
        if self._signer is not None:
            key = self._key_of(self._signer)
            if key is not None:
                return key, self._signer
        signer = self._open_named()
        self._replace(signer)
        return self._require(signer), signer

    @property
    def algorithm(self) -> str:
        """Of the key that signs."""
        assert self._signer is not None
        return self._signer.public_key.algorithm

    def close(self) -> None:
        """Let go of the key."""
        if self._signer is not None:
            self._signer.close()

    def _open_named(self) -> Signer:
        """The first of the signers in log.toml that holds a key in force."""
        named = read_config(self._store.source).signers
        problem: AttestlogError | None = None
        for uri in (named.entry, named.next_entry):
            if uri is None:
                continue
            try:
                signer = open_signer(uri, passphrase=self._passphrase)
            except AttestlogError as error:
                problem = problem or error
                continue
            if self._key_of(signer) is not None:
                self._heal(uri)
                return signer
            try:
                self._require(signer)
            except SignerError as error:
                problem = problem or error
            signer.close()
        assert problem is not None
        if not isinstance(problem, WrongKeyError):
            message = f"{problem.message}; the log is signed by {self._keys_in_force()}"
            problem = problem.with_evidence(message, expected=self.rules.key_ids)
        raise problem

    def _heal(self, uri: str) -> None:
        """A rotation stopped between two writings of log.toml: end it, whichever way it went.

        That it cannot be written holds nobody up: the same is found out by the next opening.
        """
        named = read_config(self._store.source).signers
        if named.next_entry is not None:
            with contextlib.suppress(AttestlogError):
                change_config(self._store, partial(with_signers, entry=uri, next_entry=None))

    def _start_over(self) -> None:
        self.rules, self._size, self._kept_size = Rules.of(self._store.genesis), 0, 0
        self._lines = []

    def _read_on(self, head: Head) -> None:
        self.rules, changes = self.rules.following(self._store.governing.since(self._size, head.size))
        self._lines += changes
        self._size = head.size

    def _sign_with(self, signer: Signer | None, *, is_chosen: bool) -> None:
        if signer is not None and (is_chosen or self._key_of(signer) is not None):
            self.use(signer)
        else:
            # The key was rotated between the reading of log.toml and the lock, or halfway.
            self.signer()
            if signer is not None:
                signer.close()

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
        old, self._signer = self._signer, signer
        if old is not None and old is not signer:
            old.close()
