"""Bundles judged offline: what the entries in one show, to somebody who has one key of the log.

    report = judge_bundle("incident.bundle", trust=[vkey])

Of each entry: its spelling, its hashes, its place in the tree that the checkpoint signs, the rules it says it
stands under, and its signature under the keys that these put in force. The rules are followed from the
genesis entry by the same function as in a log; what does not hold moves nothing.

What it does not show is in the report: what the log holds beside these entries, whether it still holds them,
and whether the policy allowed what was done.
"""

from __future__ import annotations

import re
import time
from base64 import b64decode
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import IO, Final

from attestlog._internal.core import entry as entries
from attestlog._internal.core.bundle import (
    HEADER_SIZE_MAX_BYTES,
    ITEM_SIZE_MAX_BYTES,
    Header,
    Item,
    is_bundle,
    parse_header,
    parse_items,
)
from attestlog._internal.core.checkpoint import Checkpoint, parse_checkpoint
from attestlog._internal.core.cosignature import open_signed_checkpoint
from attestlog._internal.core.entry import Entry
from attestlog._internal.core.genesis import Genesis, open_log_checkpoint, parse_genesis
from attestlog._internal.core.hashes import leaf_hash
from attestlog._internal.core.merkle import verify_inclusion
from attestlog._internal.core.note import format_vkey, parse_note
from attestlog._internal.core.pointer import Pointers, point_to
from attestlog._internal.core.report import ExportReport
from attestlog._internal.core.reserved import PLACE_LEGAL_HOLD, RELEASE_LEGAL_HOLD, governs
from attestlog._internal.core.rules import Rules
from attestlog._internal.core.signature import verify_entry_signature
from attestlog._internal.core.trust import open_trusted_checkpoint
from attestlog._internal.disk import open_plain
from attestlog._internal.verifying.given import reason
from attestlog._internal.verifying.session import AnyTrustPolicy, Session
from attestlog.errors import (
    InclusionError,
    MalformedError,
    MalformedProofError,
    MalformedSignatureError,
    MissingExtraError,
    NotFoundError,
    QuorumError,
    RuleChangeError,
    SignatureInvalidError,
    TooLargeError,
    TrustError,
    VerificationError,
)

REPORT_SIZE_MAX_BYTES: Final = 256 << 20
"""A report for people is read whole; one of 10,000 entries has some 50 MB."""

_REPORT_START: Final = b"<!doctype html>"
_EMBEDDED: Final = re.compile(rb'<script type="text/plain" id="bundle">([A-Za-z0-9+/=]*)</script>')

_OF_HOLDS: Final = frozenset({PLACE_LEGAL_HOLD, RELEASE_LEGAL_HOLD})
"""They have a list of their own, which no signature rests on: a bundle leaves it out."""

_NOT_SHOWN: Final = (
    "what the log holds beside these entries, and that it still holds them",
    "whether the policy in force allowed what was done: attestlog verify LOG judges that",
    "that what was recorded is true",
)


def is_bundle_file(path: str | Path) -> bool:
    """Whether the file is a bundle, or a report with one in it, by how it begins."""
    try:
        with open_plain(Path(path)) as file:
            first = file.readline(HEADER_SIZE_MAX_BYTES)
            return is_bundle(first) or (
                first.rstrip() == _REPORT_START and b"attestlog" in file.readline(1_024)
            )
    except OSError:
        return False


def judge_bundle(
    path: str | Path, *, trust: Iterable[str | Path] = (), trust_policy: AnyTrustPolicy = None
) -> ExportReport:
    """What the bundle shows, or the bundle in a report. What is found is in the report, and is not raised.

    `trust`: checkpoint keys (vkeys), entry keys, or the hash of the genesis entry: one of them must vouch for
    the log. Raises what `Session` raises.
    """
    begun = time.monotonic()
    report = ExportReport(subject=str(path), format="bundle")
    session = Session(report.add, trust=trust, trust_policy=trust_policy)
    try:
        with open_plain(Path(path)) as file:
            _Bundle(report, session).judge(_bundle_in(file))
    except OSError as error:
        session.find("export.unreadable", reason(error))
    except (MalformedError, RecursionError) as error:
        session.find("export.malformed", str(error) or "it is nested too deep")
    except MissingExtraError as error:
        session.find("checkpoint.unsupported", str(error))
    report.not_shown += _NOT_SHOWN
    report.duration_s = time.monotonic() - begun
    return report


def _bundle_in(file: IO[bytes]) -> IO[bytes]:
    """The bundle itself, or the one that a report holds. Raises MalformedProofError."""
    if file.read(len(_REPORT_START)) != _REPORT_START:
        file.seek(0)
        return file
    match = _EMBEDDED.search(file.read(REPORT_SIZE_MAX_BYTES))
    if match is None:
        raise MalformedProofError("the page holds no bundle")
    try:
        return BytesIO(b64decode(match[1], validate=True))
    except ValueError:
        raise MalformedProofError("the bundle in the page is not base64") from None


class _Bundle:
    """One bundle, judged line by line."""

    def __init__(self, report: ExportReport, session: Session) -> None:
        self._report, self._session = report, session
        self._rules: Rules | None = None
        self._changes: dict[int, bytes] = {}
        """The lines of those that may have changed keys or policy, by number."""
        self._last = -1

    def judge(self, file: IO[bytes]) -> None:
        """All of it. Raises MalformedError where it is no bundle, MissingExtraError."""
        header = parse_header(file.readline(HEADER_SIZE_MAX_BYTES))
        checkpoint = parse_checkpoint(parse_note(header.checkpoint.encode()).text)
        self._report.origin = checkpoint.origin
        items = parse_items(_lines(file))
        first = next(items, None)
        if first is None:
            raise MalformedProofError("the bundle holds no entry")
        genesis = parse_genesis(entries.decode_line(first.line))
        is_signed = self._judge_checkpoint(header, genesis)
        self._rules = Rules.of(genesis)
        for item in _chained(first, items):
            self._take(item, checkpoint)
        if is_signed:
            self._report.checkpoint_size = checkpoint.size

    def _judge_checkpoint(self, header: Header, genesis: Genesis) -> bool:
        """Whether the log itself signed it; and who vouches for the log."""
        report, session, note = self._report, self._session, header.checkpoint.encode()
        report.genesis_hash = genesis.entry_hash
        try:
            open_log_checkpoint(note, genesis)
        except (VerificationError, TrustError) as error:
            session.find("checkpoint.signature", str(error))
            return False
        signers = open_signed_checkpoint(note, genesis.checkpoint_keys).signatures
        vouching = {format_vkey(item.key) for item in signers} | {genesis.entry_hash, *genesis.entry_keys}
        report.trusted_by = [item for item in session.trusted if item in vouching]
        if not session.trusted:
            session.find(
                "trust.none", "no trusted key was given: the bundle is consistent but proves nothing"
            )
        elif not report.trusted_by:
            what = "none of the keys or hashes given vouches for this log"
            session.find("trust.mismatch", what, expected=session.trusted, found=sorted(vouching))
        if session.trust_policy.witnesses:
            self._judge_quorum(note, genesis)
        return True

    def _judge_quorum(self, note: bytes, genesis: Genesis) -> None:
        try:
            open_trusted_checkpoint(note, self._session.trust_policy, genesis.checkpoint_keys)
        except QuorumError as error:
            self._session.find("trust.quorum", str(error), expected=error.need, found=error.have)
        except VerificationError as error:
            self._session.find("checkpoint.cosignature", str(error))

    def _take(self, item: Item, checkpoint: Checkpoint) -> None:
        entry = entries.decode_line(item.line)
        number, report = entry.sequence_number, self._report
        if number <= self._last:
            raise MalformedProofError(f"entry {number} stands behind entry {self._last}")
        report.is_consecutive = report.is_consecutive and number == self._last + 1
        self._last = number
        report.size += 1
        report.first, report.last = number if report.first is None else report.first, number
        report.erased_payloads += entry.action_payload is None
        if self._is_in_tree(entry, item, checkpoint):
            self._judge_rules(entry, item.line)

    def _is_in_tree(self, entry: Entry, item: Item, checkpoint: Checkpoint) -> bool:
        number = entry.sequence_number
        try:
            hashes = entries.canonical_hashes(entry, item.line)
            for member, want in zip(("entry_hash", "action_hash"), hashes, strict=True):
                found = getattr(entry, member)
                if want not in {None, found}:
                    what = f"{member} is not the hash of the {member.removesuffix('_hash')}"
                    self._session.find(f"entry.{member}", what, number, expected=want, found=found)
                    return False
            leaf = leaf_hash(bytes.fromhex(entry.entry_hash))
            verify_inclusion(leaf, number, checkpoint.size, item.path, checkpoint.root)
        except InclusionError as error:
            self._session.find("proof.inclusion", str(error), number)
        except TooLargeError as error:
            self._session.find("entry.too_large", str(error), number)
        except MalformedError as error:
            self._session.find("entry.canonical", str(error), number)
        else:
            return True
        return False

    def _judge_rules(self, entry: Entry, line: bytes) -> None:
        """Its pointer, its signature under the key in force, and the rules after it."""
        number, stated = entry.sequence_number, Pointers.of(entry)
        if number and not self._move(stated, number):
            return
        rules = self._rules
        assert rules is not None
        if self._is_signed(rules, entry) and number and governs(entry) and entry.action_type not in _OF_HOLDS:
            self._changes[number] = line
            try:
                self._rules = rules.at(Pointers(point_to(entry), stated.holds), self._fetch, with_holds=False)
            except RuleChangeError as error:  # it moves nothing
                self._session.find("entry.change", str(error), number)

    def _move(self, stated: Pointers, number: int) -> bool:
        """Follow the entry's pointer. False where its rules are not known."""
        assert self._rules is not None
        try:
            if stated.rules != self._rules.pointers.rules:
                self._rules = self._rules.at(stated, self._fetch, with_holds=False)
        except NotFoundError as error:
            self._session.find("entry.unjudged", str(error), number, found=stated.rules)
        except (VerificationError, MalformedError) as error:
            self._session.find("entry.rules", str(error), number, expected=self._rules.pointers.rules,
                               found=stated.rules)  # fmt: skip
        else:
            return True
        return False

    def _fetch(self, number: int) -> bytes:
        if number not in self._changes:
            raise NotFoundError(f"entry {number}, which changed keys or policy, is not in the bundle")
        return self._changes[number]

    def _is_signed(self, rules: Rules, entry: Entry) -> bool:
        number, find = entry.sequence_number, self._session.find
        key = rules.signing_key(entry.signing_key_id, entry.signature_algorithm)
        if key is None:
            find("entry.signing_key", "the entry's key is not in force", number, expected=rules.key_ids,
                 found=entry.signing_key_id)  # fmt: skip
            return False
        if key.key_id not in self._report.signing_keys:
            self._report.signing_keys.append(key.key_id)
        try:
            verify_entry_signature(key, entry.signature_algorithm, entry.hsm_signature, entry.entry_hash)
        except MalformedSignatureError as error:
            find("entry.signature_form", str(error), number)
        except SignatureInvalidError as error:
            find("entry.signature", str(error), number)
        except MissingExtraError as error:
            find("entry.unverified", str(error), number)
        else:
            return True
        return False


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    while line := file.readline(ITEM_SIZE_MAX_BYTES + 1):
        yield line


def _chained(first: Item, rest: Iterable[Item]) -> Iterator[Item]:
    yield first
    yield from rest
