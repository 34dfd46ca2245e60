"""The schema's log over an attestlog log: a directory, not one file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self, overload

import attestlog
from attestlog._internal.core.entry import ASSIGNED_MEMBERS
from attestlog._internal.core.signature import PublicKey
from attestlog._internal.signers import Signer, open_signer
from attestlog._internal.storage.resolve import open_source
from attestlog.errors import (
    DerivedMemberError,
    ExistsError,
    MalformedConfigError,
    MalformedEntryError,
    NotFoundError,
    QueryError,
)
from attestlog.haios._entry import AttestationEntry, utc
from attestlog.haios._keys import signer_of

ORIGIN_PREFIX: Final = "haios.local/"
ORIGIN_NAME_LENGTH_MAX: Final = 80
"""Characters of the directory's name in an origin: one line of a checkpoint must stay readable."""

FILTERS: Final = ("event_type", "actor_id", "start_time", "end_time")
"""What `query` can be asked for."""

_PLACEHOLDERS: Final[tuple[Any, ...]] = (None, "", [])
"""What code written for the schema gives for a member that is filled in later."""

_SMALLEST: Final = timedelta(microseconds=1)
"""Timestamps have microseconds: nothing lies between a time and this much later."""


class Entries(Sequence[AttestationEntry]):
    """The entries of a log, read from disk when they are asked for. Entry 0 is the log's genesis entry.

    One index is one read. A slice is again lazy. `len` and negative indices follow the log as it grows;
    a slice stays as long as it was. Raises CorruptError at a line that is no entry.
    """

    def __init__(self, path: str | os.PathLike[str], span: range | None = None) -> None:
        """`span`: the sequence numbers; None for all, now and later. Raises NotFoundError or DeniedError."""
        self._path = Path(path)
        self._reader = open_source(self._path)
        self._span = span

    def __repr__(self) -> str:
        return f"Entries({str(self._path)!r}, {len(self)} entries)"

    def __len__(self) -> int:
        return len(self._numbers())

    @overload
    def __getitem__(self, index: int) -> AttestationEntry: ...
    @overload
    def __getitem__(self, index: slice) -> Entries: ...
    def __getitem__(self, index: int | slice) -> AttestationEntry | Entries:
        if isinstance(index, slice):
            return Entries(self._path, self._numbers()[index])
        return AttestationEntry.from_entry(self._reader.entry(self._numbers()[index]))

    def __iter__(self) -> Iterator[AttestationEntry]:
        numbers = self._numbers()
        if numbers.step == 1:
            for entry in self._reader.entries(numbers.start, numbers.stop):
                yield AttestationEntry.from_entry(entry)
        else:
            for number in numbers:
                yield AttestationEntry.from_entry(self._reader.entry(number))

    def _numbers(self) -> range:
        return range(self._reader.size()) if self._span is None else self._span


class ImmutableAttestationLog:
    """The schema's log. Threads may share it, other processes may write to it meanwhile.

    `hsm_key` is a signer, a signer URI (`file:key.pem`, `pkcs11:…`), or any object with `sign(bytes)`. Such
    an object must also give its public key, as `public_key` (an attribute, or a method without arguments):
    an attestlog or `cryptography` public key, or SPKI as PEM or DER. For P-256, `sign` returns DER, over the
    SHA-256 of what it is given; for Ed25519 and ML-DSA the standard bytes.

    A log at `storage_path` is opened. If there is none, or an empty directory, one is made. `origin` is its
    name for good; by default `haios.local/`, the directory's name, `-` and eight random hex digits.
    `checkpoint_signer` (Ed25519) signs checkpoints; by default a key file is made, which the configuration
    names.
    `redact`: secrets are replaced before an entry is hashed, as the log's policy says, and the entry that
    `append` returns shows it. False stores everything as it was given.

    Raises MalformedConfigError for an `hsm_key` that cannot be used and for an `origin` that is not that
    of the log at `storage_path`; besides, as `attestlog.create` and `attestlog.open`.
    """

    def __init__(
        self,
        storage_path: str | os.PathLike[str],
        hsm_key: object,
        *,
        origin: str | None = None,
        checkpoint_signer: str | Signer | None = None,
        redact: bool = True,
    ) -> None:
        self.hsm_key = hsm_key
        self._redact = redact
        path, signer = Path(storage_path).absolute(), signer_of(hsm_key)
        if not _is_log(path):
            try:
                self._log = attestlog.create(
                    path,
                    origin=origin or new_origin(path),
                    signer=signer,
                    checkpoint_signer=checkpoint_signer,
                )
                (self._public_key,) = self._log.genesis.entry_keys.values()
            except ExistsError:
                # Another process has made it since, or it is no log: opening says which.
                self._open(path, signer, origin, checkpoint_signer)
        else:
            self._open(path, signer, origin, checkpoint_signer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"ImmutableAttestationLog({self.storage_path!r}, origin={self._log.origin!r})"

    @property
    def storage_path(self) -> str:
        """The log's directory."""
        return str(self._log.path)

    @property
    def log(self) -> attestlog.Log:
        """The log beneath: guard, proofs, erasure, rotation and whatever else the schema has no name for."""
        return self._log

    @property
    def public_key(self) -> PublicKey:
        """Of `hsm_key`, as it was when the log was opened. `verify_integrity` trusts this key."""
        return self._public_key

    @property
    def entries(self) -> Entries:
        """All entries, lazily."""
        return Entries(self._log.path)

    def append(self, entry_data: Mapping[str, Any]) -> AttestationEntry:
        """Append one entry. When this returns it is durable; what it returns is what was stored.

        `entry_data`: `event_type`, `action_type` and `actor_id`, and any others of the schema's members. A
        member that the log assigns may be there as a placeholder (None, "" or []), and the algorithm and
        key id also if they are right. A derived member must be right.
        Raises MalformedEntryError, DerivedMemberError, TooLargeError and the others of `Log.append`.
        """
        draft = self._draft(entry_data)
        try:
            receipt = self._log.append(draft) if self._redact else self._append_as_given(draft)
        except DerivedMemberError as error:
            if error.member == "action_hash" and self._is_altered(draft):
                raise error.with_evidence(
                    "action_hash is stated for the payload as given, but the log redacts or salts it first"
                ) from None
            raise
        return AttestationEntry.from_entry(receipt.entry)

    def verify_integrity(self) -> bool:
        """Whether attestlog's verifier finds the whole log VERIFIED, and this log's key vouches for it.

        False for anything else: tampered, cut, torn, or not to be told. `report` says what and where.
        Raises as `report`.
        """
        return self.report().verdict is attestlog.Verdict.VERIFIED

    def report(self) -> attestlog.Report:
        """The verifier's report, with every finding. Reads the whole log, in flat memory.

        The verifier also compares the log with what it remembers of it from before, and remembers it.
        """
        return attestlog.verify(self._log.path, trust=[self._public_key.pem])

    def get_merkle_root(self) -> str:
        """Hex root of the RFC 6962 tree over all entries, those of other processes included.

        Raises as `Log.head`.
        """
        return self._log.head().edge.root().hex()

    def query(self, filters: Mapping[str, Any]) -> list[AttestationEntry]:
        """The entries for which every filter holds, oldest first.

        `event_type` and `actor_id` must be equal. `start_time` and `end_time` are included; each is a
        `datetime`, or its ISO 8601 text, and without a zone it is UTC. The list is held in memory: for
        large answers use `log.query`, which streams.
        Raises QueryError for another filter, or a value that cannot be asked for.
        """
        for name, value in filters.items():
            if name not in FILTERS or value is None:
                reason = "is None" if name in FILTERS else f"is not one of {', '.join(FILTERS)}"
                raise QueryError(f"filter: {name!r} {reason}", member=str(name))
        asked = {name: filters[name] for name in ("event_type", "actor_id") if name in filters}
        if "start_time" in filters:
            asked["since"] = _moment("start_time", filters["start_time"]).isoformat()
        if "end_time" in filters:
            asked["until"] = _just_after(_moment("end_time", filters["end_time"]))
        return [AttestationEntry.from_entry(e) for e in self._log.query(newest_first=False, **asked)]

    def close(self) -> None:
        """Sign a checkpoint over all entries and let go of the log. May be called twice."""
        self._log.close()

    # --- within ---

    def _open(
        self, path: Path, key: str | Signer, origin: str | None, checkpoint_signer: str | Signer | None
    ) -> None:
        # Opened here, not by the log: the log may have several keys, and this one is to vouch for it.
        signer = open_signer(key) if isinstance(key, str) else key
        try:
            self._log = attestlog.open(path, signer=signer, checkpoint_signer=checkpoint_signer)
        except BaseException:
            if isinstance(key, str):
                signer.close()
            raise
        self._public_key = signer.public_key
        if origin not in (None, self._log.origin):
            found = self._log.origin
            self._log.close()
            raise MalformedConfigError(f"{path} is the log {found!r}, want {origin!r}", member="origin")

    def _draft(self, entry_data: Mapping[str, Any]) -> dict[str, Any]:
        """The members as a caller may give them to attestlog, which refuses those that are left."""
        try:
            draft = dict(entry_data)
        except (TypeError, ValueError):
            kind = type(entry_data).__name__
            raise MalformedEntryError(f"entry_data: expected a mapping, got {kind}", member="") from None
        key = next(iter(self._log.rules.keys.values()))
        right = {"signature_algorithm": key.algorithm, "signing_key_id": key.key_id}
        for name in ASSIGNED_MEMBERS:
            if name in draft and draft[name] in (*_PLACEHOLDERS, right.get(name)):
                del draft[name]
        return draft

    def _append_as_given(self, draft: dict[str, Any]) -> attestlog.Receipt:
        (receipt,) = self._log.append_unredacted([draft])
        return receipt

    def _is_altered(self, draft: dict[str, Any]) -> bool:
        """Whether the log stores another payload than this one."""
        payload: dict[str, Any] = draft.get("action_payload", {})
        return self._log.storable_payload(payload, draft["action_type"]) != payload


def new_origin(path: Path) -> str:
    """A name for a new log at `path`. Random at its end: verifiers remember a log by its name."""
    name = re.sub("[^A-Za-z0-9._-]+", "-", path.name)[:ORIGIN_NAME_LENGTH_MAX].strip("-") or "log"
    return f"{ORIGIN_PREFIX}{name}-{os.urandom(4).hex()}"


def _is_log(path: Path) -> bool:
    try:
        open_source(path)
    except NotFoundError:
        return False
    return True


def _moment(name: str, value: object) -> datetime:
    try:
        return utc(datetime.fromisoformat(value) if isinstance(value, str) else value)
    except ValueError as error:
        raise QueryError(f"filter: {name}: {str(error).removeprefix('timestamp: ')}", member=name) from None


def _just_after(moment: datetime) -> str | None:
    """What to ask for `until`, which attestlog does not include; None past the last date there is."""
    try:
        return (moment + _SMALLEST).isoformat()
    except OverflowError:
        return None
