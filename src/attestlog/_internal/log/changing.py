"""Changing a log itself: its keys, its legal holds, what it keeps of payloads.

For a caller of a service, of whom the entry then says what the service knows (`log.callers`), and for
whoever has the log open, of whom it says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, Protocol

from attestlog._internal.config import find_config
from attestlog._internal.core.batch import Prepared
from attestlog._internal.core.changes import (
    AddHold,
    AdmitKey,
    AnyChange,
    Erase,
    EraseMany,
    ReleaseHold,
    RevokeKey,
    RotateKey,
)
from attestlog._internal.core.receipt import Receipt
from attestlog._internal.core.reserved import (
    ADMIT_SIGNING_KEY,
    PLACE_LEGAL_HOLD,
    RELEASE_LEGAL_HOLD,
    REVOKE_SIGNING_KEY,
    WAS_READ,
)
from attestlog._internal.core.rotation import Revocation, format_revocation
from attestlog._internal.core.rules import Hold, Rules, format_hold, release_of
from attestlog._internal.log.callers import Caller
from attestlog._internal.log.committer import Committer
from attestlog._internal.log.drafts import change_draft
from attestlog._internal.log.erasing import WantedPayloads
from attestlog._internal.log.writer import Writer
from attestlog._internal.signers import Passphrase, Signer
from attestlog._internal.signers.making import given_or_made, given_or_opened
from attestlog._internal.storage.contract import Store
from attestlog.errors import ForbiddenError, IdempotencyError

_FILE = "file:"


class Changeable(Protocol):
    """A log that is open here."""

    _writer: Writer
    _queue: Committer[Receipt]
    _store: Store
    _passphrase: Passphrase | None

    @property
    def rules(self) -> Rules:
        """See `Log`."""

    @property
    def origin(self) -> str:
        """See `Log`."""

    def _append(self, prepared: list[Prepared]) -> list[Receipt]:
        """Commit these, and wait for the replicas that were asked for."""


def make_change(log: Changeable, change: AnyChange, caller: Caller = Caller()) -> Receipt:  # noqa: B008 - it is frozen
    """Make it, and return the receipt of its entry. Raises as the method of `Log` of that name."""
    match change:
        case RotateKey():
            _check_key_is_file(log)
            return rotate_key(log, None, change.algorithm, change.members, caller)
        case Erase() | EraseMany():
            return _erase(log, change, caller)
        case _:
            # A change of keys is the log's own to append: see `core.reserved`.
            is_of_keys = isinstance(change, AdmitKey | RevokeKey)
            prepared = log._writer.prepare(_draft(log, change), by_log=is_of_keys, asserted=caller.asserted)
            (receipt,) = log._append([prepared])
            return receipt


def record_read(log: Changeable, reader: str, hour: str) -> None:
    """Append that this reader read the log in this hour, unless an entry says so. Raises as `Log.append`.

    `reader`: as `Caller.peer`; once an hour, over restarts, too: the hour is the key of the entry.
    """
    caller = Caller(reader, f"was-read:{hour}")
    payload = {"reader": reader.partition(" ")[0], "hour": hour}
    draft = change_draft(WAS_READ, payload, {"actor_id": "attestlog", "actor_type": "SYSTEM"})
    prepared = log._writer.prepare(draft, by_log=True, asserted=caller.asserted)
    with suppress(IdempotencyError):
        log._append([prepared])


def rotate_key(
    log: Changeable,
    new_signer: str | Signer | None,
    algorithm: str | None,
    members: Mapping[str, Any],
    caller: Caller,
) -> Receipt:
    """As `Log.rotate_key`."""
    with ExitStack() as undo:
        algorithm = algorithm or next(iter(log.rules.keys.values())).algorithm
        made = given_or_made(new_signer, origin=log.origin, role="entry", algorithm=algorithm)
        new = given_or_opened(made, log._passphrase, undo)
        given = {"actor_id": new.public_key.key_id, **members}
        receipt: Receipt = log._queue.run(partial(log._writer.rotate, new, given, caller.asserted))
        undo.pop_all()
        return receipt


def _check_key_is_file(log: Changeable) -> None:
    """A key in a device or a service is not replaced by one in a file because somebody elsewhere asks.

    Nor does a caller name a signer: a URI can name libraries and files of this machine.
    """
    config = find_config(log._store.source)
    if config is None or not all(uri.startswith(_FILE) for uri in config.signers.entries):
        raise ForbiddenError("the log's key is in no key file: rotate it where the log is", need="key file")


def _erase(log: Changeable, change: Erase | EraseMany, caller: Caller) -> Receipt:
    writer, reason, basis = log._writer, change.reason, change.legal_basis
    if isinstance(change, Erase):
        run = partial(writer.erase, change.sequence_number, reason, basis, change.members, caller.asserted)
    else:
        from attestlog._internal.query.filter import parse_moment

        age = change.older_than
        wanted = WantedPayloads(
            action_types=change.action_types, reason=reason, legal_basis=basis, start=change.start,
            stop=change.stop, before_us=None if age is None else parse_moment(age, writer.clock()),
        )  # fmt: skip
        run = partial(writer.erase_many, wanted, change.members, caller.asserted)
    receipt: Receipt = log._queue.run(run)
    return receipt


def _draft(log: Changeable, change: AdmitKey | RevokeKey | AddHold | ReleaseHold) -> dict[str, Any]:
    own_key = {"actor_id": log.rules.key_ids[0], "event_category": "CRITICAL"}
    match change:
        case AdmitKey():
            return change_draft(ADMIT_SIGNING_KEY, dict(change.consent), {**own_key, **change.members})
        case RevokeKey():
            revocation = Revocation(
                key_id=change.key_id, last_trusted_sequence_number=change.last_trusted, reason=change.reason
            )
            return change_draft(
                REVOKE_SIGNING_KEY, format_revocation(revocation), {**own_key, **change.members}
            )
        case AddHold():
            hold = Hold(name=change.name, start=change.start, stop=change.stop, reason=change.reason)
            return change_draft(PLACE_LEGAL_HOLD, format_hold(hold), change.members)
        case ReleaseHold():
            rules: Rules = log._queue.run(log._writer.rules_with_holds)
            release = release_of(rules, change.name, change.reason)
            return change_draft(RELEASE_LEGAL_HOLD, format_hold(release), change.members)
