"""What an exported file shows by itself, to somebody who has a key: the file goes in, a report comes out.

    report = judge_export("audit.parquet", trust=["entry-key.pem"])

Lines (JSON Lines, Parquet, statements) are judged in the order of the file: spelling, hashes, the link to the
line before where that is the entry before, and the signature of each entry under the keys that are known. A
file from entry 0 on without gaps also leads to the root of the log's tree, which a checkpoint can confirm.
A receipt is judged by the tree and the key that signed its root.

What no such file shows: that the log still has these entries and no others, what a filter left out, and
whether the policy allowed what was done. `verifying` judges that, of a log.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from attestlog._internal.core import entry as entries
from attestlog._internal.core.checkpoint import Checkpoint
from attestlog._internal.core.entry import LINE_SIZE_MAX_BYTES, Entry
from attestlog._internal.core.genesis import parse_genesis
from attestlog._internal.core.hashes import leaf_hash
from attestlog._internal.core.merkle import Span, root_from_path
from attestlog._internal.core.note import ED25519, VerifierKey, format_vkey
from attestlog._internal.core.report import ExportReport, Progress
from attestlog._internal.core.reserved import governs
from attestlog._internal.core.rules import Rules
from attestlog._internal.core.signature import PublicKey, verify_entry_signature
from attestlog._internal.core.trust import open_trusted_checkpoint
from attestlog._internal.disk import open_plain
from attestlog._internal.exporting import cose, dsse, parquet
from attestlog._internal.exporting.contract import Content, Exported, Form, content_of
from attestlog._internal.exporting.keys import note_public_key
from attestlog._internal.verifying.given import Given, reason
from attestlog._internal.verifying.session import AnyTrustPolicy, Session
from attestlog.errors import (
    AttestlogError,
    InclusionError,
    MalformedEntryError,
    MalformedError,
    MalformedProofError,
    MalformedSignatureError,
    MissingExtraError,
    QuorumError,
    RuleChangeError,
    SignatureInvalidError,
    TooLargeError,
    TrustError,
)

KEYS_NAMED_MAX: Final = 256
"""Keys told apart that were not given: a forged file must not fill memory."""

_BATCH_ROWS: Final = 256
"""Rows of a Parquet file taken apart at once: of a row group, which others may have made large."""

_LEAVES: Final = 1_024
"""Hashed into the tree at once."""

_ALWAYS: Final = (
    "that the log still holds these entries, and what it holds beside them",
    "whether the policy and the keys in force allowed them: attestlog verify LOG judges that",
    "that what was recorded is true",
)
_FILTERED: Final = "what stands between the entries: some are left out"
_UNCOVERED: Final = "that no entry was left out at the end: no checkpoint that is trusted covers the last one"


def export_form(path: str | Path) -> Form | None:
    """Which form of export a file is, by how it begins; None for anything else. Raises nothing."""
    try:
        with open_plain(Path(path)) as file:
            line = file.readline(dsse.ENVELOPE_SIZE_MAX_BYTES)
    except OSError:
        return None
    if line.startswith(parquet.MAGIC):
        return Form.PARQUET
    if line.startswith(cose.FIRST_BYTE):
        return Form.COSE
    if line.startswith(b'{"action_hash":'):
        return Form.JSONL
    return Form.DSSE if dsse.is_envelope(line) else None


def judge_export(
    path: str | Path,
    *,
    trust: Iterable[str | Path] = (),
    trust_policy: AnyTrustPolicy = None,
    held: Given | None = None,
    entry_file: str | Path | None = None,
    progress: Progress | None = None,
) -> ExportReport:
    """What the file shows. What is found is in the report, and is not raised.

    `trust`, `trust_policy`, `held`: as for a log; a checkpoint held must be one that the file's entries lead
    to. `entry_file`: JSON Lines with the entries that receipts are of.
    Raises what `Session` raises, and MissingExtraError.
    """
    begun = time.monotonic()
    form = export_form(path)
    report = ExportReport(subject=str(path), format=form or "")
    session = Session(report.add, trust=trust, trust_policy=trust_policy, held=held)
    try:
        if form is None:
            session.find("export.malformed", "the file does not begin as an export does")
        elif form is Form.COSE:
            _Receipts(report, session).judge(Path(path), entry_file)
        else:
            _LINES[form](report, session, Path(path), progress)
    except OSError as error:
        session.find("export.unreadable", reason(error))
    except (MalformedProofError, msgspec.DecodeError) as error:
        session.find("export.malformed", str(error), report.size)
    report.duration_s = time.monotonic() - begun
    return report


# --- whom the caller trusts ---


def given_keys(session: Session) -> dict[str, tuple[PublicKey, str]]:
    """By key id: every key that can verify a signature, and what the caller called it."""
    found = {key.key_id: (key, key.key_id) for key in session.entry_keys}
    for vkey in [*session.log_keys, *(log.key for log in session.trust_policy.logs)]:
        if vkey.kind == ED25519:
            key = note_public_key(vkey)
            found[key.key_id] = (key, format_vkey(vkey))
    return found


def _judge_trust(report: ExportReport, session: Session, unknown: Counter[str]) -> None:
    """`unknown`: how many entries, statements or receipts nobody trusted vouches for, by key id."""
    if not session.trusted:
        if session.held is None:
            session.find("trust.none", "no trusted key was given: the file proves nothing")
    elif not report.trusted_by:
        session.find("trust.mismatch", "none of the keys or hashes given vouches for anything in the file",
                     expected=session.trusted, found=report.signing_keys)  # fmt: skip
    elif unknown:
        count, names = sum(unknown.values()), ", ".join(key_id[:16] for key_id in list(unknown)[:4])
        session.find("export.key_unknown", f"{count} of {report.size} are signed by keys that were not given:"
                     f" {names}", found=list(unknown))  # fmt: skip


# --- entries, line by line ---


class _Lines:
    """Judges entries as they come, in the order of the file."""

    def __init__(self, report: ExportReport, session: Session) -> None:
        self._report, self._session = report, session
        self._keys = {key_id: key for key_id, (key, _) in given_keys(session).items()}
        self._kin: dict[str, PublicKey] = {}
        """Keys that the genesis entry of the file, and changes of keys after it, put in force."""
        self._rules: Rules | None = None
        self._by_kin: Counter[str] = Counter()
        """How many entries each of them signed, of those that no key given signed."""
        self._is_genesis_trusted = False
        self._checkpoint_keys: list[VerifierKey] | None = None
        """Those that the genesis entry of the file names."""
        self._unknown: Counter[str] = Counter()
        self._before: Entry | None = None
        self._tree: Span | None = None
        self._leaves: list[bytes] = []
        self._roots: dict[int, bytes] = {}
        self._sizes: set[int] = set()
        """Sizes at which the root is wanted."""

    def want_root(self, size: int) -> None:
        """Keep the root at this size, if the file leads to it."""
        self._sizes.add(size)

    def take(self, line: bytes, *, is_complete: bool = True) -> Entry | None:
        """The next line; its entry, if it is one. `is_complete`: whether it has a line end."""
        report, position = self._report, self._report.size
        report.size += 1
        try:
            entry = entries.decode_line(line)
        except MalformedEntryError as error:
            code, what = ("entry.malformed", str(error)) if is_complete else ("export.torn", "is cut short")
            self._find(code, f"record {position}: {what}", None)
            self._break()
            return None
        content = content_of(line)
        report.erased_payloads += content is Content.ERASED
        report.redacted += content is Content.REDACTED
        report.first = entry.sequence_number if report.first is None else report.first
        report.last = entry.sequence_number
        if self._judge_hashes(entry, line):
            self._judge_place(entry)
            self._judge_signature(entry)
            self._grow(entry)
        else:
            self._break()
        self._before = entry
        return entry

    def finish(self, checkpoint: bytes | None = None) -> None:
        """After the last line. `checkpoint`: one that came with the file."""
        report, session = self._report, self._session
        if not report.size:
            session.find("export.malformed", "the file holds no entry")
            return
        self._flush()
        vouching = list(self._judge_held())
        if checkpoint is not None:
            vouching += self._judge_checkpoint(checkpoint)
        report.trusted_by += [item for item in vouching if item not in report.trusted_by]
        is_covered = (
            bool(vouching) and report.last is not None and (report.checkpoint_size or 0) > report.last
        )
        if not vouching and not self._is_genesis_trusted:
            self._unknown.update(self._by_kin)
        if not report.trusted_by and self._lacks_checkpoint():
            what = (
                "a checkpoint key was given, and no checkpoint: --since FILE gives one, --trust an entry key"
            )
            session.find("export.key_unknown", what, expected=session.trusted)
        else:
            _judge_trust(report, session, Counter() if is_covered else self._unknown)
        if not report.is_consecutive:
            session.find("export.gaps", "entries are left out between those in the file")
            report.not_shown.append(_FILTERED)
        if not is_covered:
            report.not_shown.append(_UNCOVERED)
        report.not_shown += _ALWAYS

    def _lacks_checkpoint(self) -> bool:
        """Whether only checkpoint keys were given, which may be the log's: they sign no entry."""
        session, known = self._session, self._checkpoint_keys
        given = [*session.log_keys, *(log.key for log in session.trust_policy.logs)]
        only = len(given) == len(session.trusted) and bool(given) and session.held is None
        return only and (known is None or not set(known).isdisjoint(given))

    def _find(self, code: str, message: str, number: int | None, **evidence: Any) -> None:
        self._session.find(code, message, number, **evidence)

    def _break(self) -> None:
        """From here on the file leads to no root."""
        self._tree, self._rules = None, None
        self._leaves = []

    def _judge_hashes(self, entry: Entry, line: bytes) -> bool:
        number = entry.sequence_number
        try:
            entry_hash, action_hash = entries.canonical_hashes(entry, line)
        except TooLargeError as error:
            self._find("entry.too_large", str(error), number)
            return False
        except (MalformedError, RecursionError) as error:
            self._find("entry.canonical", str(error), number)
            return False
        good = True
        for code, what, expected, found in (
            (
                "entry.action_hash",
                "action_hash is not the hash of the payload",
                action_hash,
                entry.action_hash,
            ),
            ("entry.entry_hash", "entry_hash is not the hash of the entry", entry_hash, entry.entry_hash),
        ):
            if expected is not None and expected != found:
                self._find(code, what, number, expected=expected, found=found)
                good = False
        return good

    def _judge_place(self, entry: Entry) -> None:
        number, before = entry.sequence_number, self._before
        try:
            entries.parse_timestamp(entry.timestamp)
        except MalformedEntryError as error:
            self._find("entry.timestamp", str(error), number)
        if before is None:
            return
        if number <= before.sequence_number:
            self._find("entry.sequence", "an entry stands behind one with its number or a later one", number,
                       found=number, expected=before.sequence_number + 1)  # fmt: skip
        elif number > before.sequence_number + 1:
            self._report.is_consecutive = False
            self._break()
        elif entry.prev_entry_hash != before.entry_hash:
            self._find("entry.chain", "prev_entry_hash is not the hash of the entry before", number,
                       expected=before.entry_hash, found=entry.prev_entry_hash)  # fmt: skip
        if entry.timestamp < before.timestamp:
            self._find("entry.timestamp", "a timestamp is earlier than that of the entry before", number)

    def _judge_signature(self, entry: Entry) -> None:
        if entry.sequence_number == 0 and self._before is None:
            self._begin(entry)
        key_id = entry.signing_key_id
        if key_id not in self._report.signing_keys and len(self._report.signing_keys) < KEYS_NAMED_MAX:
            self._report.signing_keys.append(key_id)
        key = self._keys.get(key_id) or self._kin.get(key_id)
        if key is None:
            if key_id in self._unknown or len(self._unknown) < KEYS_NAMED_MAX:
                self._unknown[key_id] += 1
            return
        try:
            verify_entry_signature(key, entry.signature_algorithm, entry.hsm_signature, entry.entry_hash)
        except MalformedSignatureError as error:
            self._find("entry.signature_form", str(error), entry.sequence_number)
        except SignatureInvalidError as error:
            self._find("entry.signature", str(error), entry.sequence_number)
        else:
            self._credit(entry, key_id)
        if self._rules is not None and governs(entry):
            self._follow(self._rules, entry)

    def _credit(self, entry: Entry, key_id: str) -> None:
        if key_id not in self._keys:
            self._by_kin[key_id] += 1
        elif key_id not in self._report.trusted_by:
            self._report.trusted_by.append(key_id)
        if entry.sequence_number == 0 and self._rules is not None:
            # It vouches for the keys it names if its own hash was given, or the key that signed it.
            found = [item for item in (entry.entry_hash, key_id) if item in self._session.trusted]
            self._is_genesis_trusted = bool(found)
            self._report.trusted_by += [item for item in found if item not in self._report.trusted_by]

    def _begin(self, entry: Entry) -> None:
        try:
            genesis = parse_genesis(entry)
        except AttestlogError:
            return
        self._report.origin, self._report.genesis_hash = genesis.origin, entry.entry_hash
        self._checkpoint_keys = genesis.checkpoint_keys
        self._rules, self._kin, self._tree = Rules.of(genesis), dict(genesis.entry_keys), Span()

    def _follow(self, rules: Rules, entry: Entry) -> None:
        """A change of keys: those that come in are signed for by those before."""
        try:
            self._rules = rules.after(entry)
        except RuleChangeError as error:
            self._find("entry.change", str(error), entry.sequence_number)
            return
        self._kin = self._rules.keys

    def _grow(self, entry: Entry) -> None:
        if self._tree is None:
            return
        self._leaves.append(leaf_hash(bytes.fromhex(entry.entry_hash)))
        size = entry.sequence_number + 1
        if size in self._sizes or len(self._leaves) >= _LEAVES:
            self._flush()
        if size in self._sizes and self._tree is not None:
            self._roots[size] = self._tree.root()

    def _flush(self) -> None:
        if self._tree is not None:
            self._tree = self._tree.extended(self._leaves)
        self._leaves = []

    def _judge_held(self) -> Iterator[str]:
        """What vouches: the checkpoint that the caller kept, if the file leads to it."""
        held = self._session.held
        if held is not None and self._compare(held, "held.root", "export.held"):
            yield f"the checkpoint held over {held.size} entries"

    def _judge_checkpoint(self, note: bytes) -> Iterator[str]:
        """What vouches: the keys of the log that were given and signed the file's checkpoint."""
        session = self._session
        if not session.log_keys and not session.trust_policy.logs:
            return
        try:
            trusted = open_trusted_checkpoint(note, session.trust_policy, session.log_keys)
        except SignatureInvalidError as error:
            self._find("checkpoint.signature", str(error), None)
        except QuorumError as error:
            self._find("trust.quorum", str(error), None, expected=error.need, found=error.have)
        except MalformedError as error:
            self._find("checkpoint.malformed", str(error), None)
        except (TrustError, MissingExtraError):
            return  # another log's, or of a kind that nothing here can verify: it vouches for nothing
        else:
            if self._compare(trusted.signed.checkpoint, "checkpoint.root", ""):
                yield from (format_vkey(item.key) for item in trusted.logs)

    def _compare(self, checkpoint: Checkpoint, wrong: str, unknown: str) -> bool:
        """Whether the file leads to its root. `unknown`: the finding where that cannot be told, if any."""
        root = self._roots.get(checkpoint.size)
        if root is None:
            if unknown:
                what = f"the checkpoint covers {checkpoint.size} entries, which the file does not hold"
                self._find(unknown, what, None, expected=checkpoint.size, found=self._report.size)
            return False
        if self._report.origin != checkpoint.origin:
            what = f"the checkpoint is of {checkpoint.origin}"
            self._find("held.origin", what, None, expected=checkpoint.origin, found=self._report.origin)
            return False
        if root != checkpoint.root:
            what = f"the entries lead to another root at {checkpoint.size} than the checkpoint's"
            self._find(wrong, what, None, expected=checkpoint.root.hex(), found=root.hex())
            return False
        self._report.checkpoint_size = max(checkpoint.size, self._report.checkpoint_size or 0)
        return True


def _file_lines(path: Path, size_max: int, progress: Progress | None) -> Iterator[bytes]:
    """Lines, with their ends. Raises MalformedProofError for one that is too long, OSError."""
    with open_plain(path) as file:
        total, done = path.stat().st_size, 0
        while line := file.readline(size_max + 2):
            if len(line) > size_max + 1:
                raise MalformedProofError(f"a line has more than {size_max} bytes")
            done += len(line)
            if progress is not None:
                progress(done, total)
            yield line


def _judge_jsonl(report: ExportReport, session: Session, path: Path, progress: Progress | None) -> None:
    judge = _Lines(report, session)
    if session.held is not None:
        judge.want_root(session.held.size)
    for line in _file_lines(path, LINE_SIZE_MAX_BYTES, progress):
        judge.take(line.removesuffix(b"\n"), is_complete=line.endswith(b"\n"))
    judge.finish()


def _judge_parquet(report: ExportReport, session: Session, path: Path, progress: Progress | None) -> None:
    library = parquet.load()
    judge = _Lines(report, session)
    try:
        # Without `pre_buffer` what was read is freed; with it, all of the file stays in memory.
        file = library.ParquetFile(path, pre_buffer=False)
        stated = {
            key.decode(errors="replace"): value for key, value in (file.schema_arrow.metadata or {}).items()
        }
        checkpoint: bytes | None = stated.get(parquet.CHECKPOINT_KEY)
        if "line" not in file.schema_arrow.names:
            raise MalformedProofError("it has no column `line`")
        wanted = [session.held.size] if session.held is not None else []
        for size in [*wanted, *_stated_size(checkpoint)]:
            judge.want_root(size)
        for row in _rows(file, session, progress):
            entry = judge.take((row.get("line") or "").encode())
            if entry is not None:
                _judge_columns(session, entry, row)
    except AttestlogError:
        raise
    except Exception as error:
        # The library has no one class for damaged files. One of them is OSError, without the system's number.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise MalformedProofError(f"not a Parquet export of a log: {error}") from None
    report.origin = report.origin or stated.get(parquet.ORIGIN_KEY, b"").decode(errors="replace") or None
    judge.finish(checkpoint)


def _rows(file: Any, session: Session, progress: Progress | None) -> Iterator[dict[str, Any]]:
    done, total = 0, file.metadata.num_rows
    for group in range(file.num_row_groups):
        table = file.read_row_group(group)
        _judge_statistics(session, table, file.metadata.row_group(group))
        for batch in table.to_batches(_BATCH_ROWS):
            done += batch.num_rows
            if progress is not None:
                progress(done, total)
            yield from batch.to_pylist()


def _judge_statistics(session: Session, table: Any, group: Any) -> None:
    """A query engine passes over rows by what is said of them here."""
    import pyarrow.compute

    for place in range(group.num_columns):
        stated, name = group.column(place).statistics, group.column(place).path_in_schema
        column = table[name]
        if stated is None:
            continue
        low, high = pyarrow.compute.min_max(column).as_py().values()
        wrong = stated.has_min_max and (low, high) != (stated.min, stated.max)
        if wrong or (stated.has_null_count and stated.null_count != column.null_count):
            session.find("export.column", f"the statistics of column {name} are not those of its cells")


def _stated_size(note: bytes | None) -> Iterator[int]:
    """The size that a checkpoint states, whoever signed it."""
    lines = (note or b"").split(b"\n")
    if len(lines) > 1 and lines[1].isdigit() and len(lines[1]) < 20:
        yield int(lines[1])


def _judge_columns(session: Session, entry: Entry, row: dict[str, Any]) -> None:
    """The columns only repeat the line: whoever asks them must get what the line says."""
    for name, expected in parquet.plain_row(Exported(row["line"].encode(), entry)).items():
        if name in row and row[name] != expected:
            session.find("export.column", f"column {name} is not what the line says", entry.sequence_number,
                         expected=str(expected), found=str(row[name]))  # fmt: skip
            return


def _judge_dsse(report: ExportReport, session: Session, path: Path, progress: Progress | None) -> None:
    judge, keys = _Lines(report, session), given_keys(session)
    signers: Counter[str] = Counter()
    for line in _file_lines(path, dsse.ENVELOPE_SIZE_MAX_BYTES, progress):
        signed = dsse.parse_envelope(line)
        stated = dsse.parse_statement(signed.payload)
        entry = judge.take(stated.line)
        if entry is None:
            continue
        number = entry.sequence_number
        report.origin = report.origin or stated.name.rpartition("#")[0]
        if stated.digest != entry.entry_hash or stated.name != f"{report.origin}#{number}":
            session.find("export.subject", "the statement's subject is not the entry in it", number,
                         expected=f"{report.origin}#{number} {entry.entry_hash}",
                         found=f"{stated.name} {stated.digest}")  # fmt: skip
        message = dsse.preauthentication(signed.payload)
        vouching = [
            called
            for key_id, signature in signed.signatures
            if key_id in keys
            for key, called in [keys[key_id]]
            if _holds(session, key, signature, message, number)
        ]
        report.trusted_by += [called for called in vouching if called not in report.trusted_by]
        if not vouching:
            signers.update([key_id for key_id, _ in signed.signatures] or ["nobody"])
    if not report.size:
        raise MalformedProofError("the file holds no statement")
    _judge_trust(report, session, signers)
    report.not_shown += [] if report.is_consecutive else [_FILTERED]
    report.not_shown += _ALWAYS


def _holds(session: Session, key: PublicKey, signature: bytes, message: bytes, number: int | None) -> bool:
    try:
        key.verify(signature, message)
    except (SignatureInvalidError, MalformedSignatureError) as error:
        session.find("export.signature", str(error), number)
        return False
    return True


_LINES: Final[dict[Form, Callable[[ExportReport, Session, Path, Progress | None], None]]] = {
    Form.JSONL: _judge_jsonl,
    Form.PARQUET: _judge_parquet,
    Form.DSSE: _judge_dsse,
}


# --- receipts ---


class _Receipts:
    """Judges COSE receipts, each by itself."""

    def __init__(self, report: ExportReport, session: Session) -> None:
        self._report, self._session = report, session
        self._keys = given_keys(session)
        self._names = {called: called.partition("+")[0] for _, called in self._keys.values()}
        self._unknown: Counter[str] = Counter()

    def judge(self, path: Path, entry_file: str | Path | None) -> None:
        """Every receipt of the file."""
        report, session = self._report, self._session
        known = {} if entry_file is None else dict(self._entries(Path(entry_file)))
        with open_plain(path) as file:
            for receipt in cose.parse_receipts(file, path.stat().st_size):
                report.size += 1
                report.first = receipt.index if report.first is None else report.first
                report.last, report.origin = receipt.index, report.origin or receipt.issuer
                self._judge(receipt, known.get(receipt.index), has_entries=entry_file is not None)
        _judge_trust(report, session, self._unknown)
        if entry_file is None:
            report.not_shown.append("what the entries say: --entry FILE compares them with their receipts")
        report.not_shown += _ALWAYS

    def _entries(self, path: Path) -> Iterator[tuple[int, str]]:
        """(number, entry_hash) of each, as its bytes say."""
        lines = _file_lines(path, LINE_SIZE_MAX_BYTES, None)
        for line in (found.removesuffix(b"\n") for found in lines):
            try:
                entry = entries.decode_line(line)
                entry_hash, _ = entries.canonical_hashes(entry, line)
            except MalformedError as error:
                raise MalformedProofError(f"{path}: {error}") from None
            yield entry.sequence_number, entry_hash

    def _judge(self, receipt: cose.Receipt, entry_hash: str | None, *, has_entries: bool) -> None:
        session, number = self._session, receipt.index
        stated = None if receipt.entry_hash is None else receipt.entry_hash.hex()
        if entry_hash is not None and stated not in {None, entry_hash}:
            session.find("export.subject", "the receipt is of another entry than the one given", number,
                         expected=entry_hash, found=stated)  # fmt: skip
            return
        if has_entries and entry_hash is None:
            session.find("export.entry", f"entry {number} is not in the file of entries", number)
        leaf = entry_hash or stated
        if leaf is None:
            session.find("export.entry", "the receipt does not name its entry, and none was given", number)
            return
        key_id = receipt.key_id.hex()
        if key_id not in self._report.signing_keys and len(self._report.signing_keys) < KEYS_NAMED_MAX:
            self._report.signing_keys.append(key_id)
        if key_id not in self._keys:
            self._unknown[key_id] += 1
            return
        try:
            root = root_from_path(
                leaf_hash(bytes.fromhex(leaf)), number, receipt.size, b"".join(receipt.path)
            )
        except InclusionError as error:
            session.find("export.signature", str(error), number)
            return
        key, called = self._keys[key_id]
        message = cose.signed_structure(receipt.protected, root)
        if _holds(session, key, receipt.signature, message, number):
            self._credit(receipt, called)

    def _credit(self, receipt: cose.Receipt, called: str) -> None:
        is_vkey = "+" in called
        if is_vkey and self._names[called] != receipt.issuer:
            self._session.find("export.subject", "the receipt is of another log than its key",
                               receipt.index, expected=self._names[called], found=receipt.issuer)  # fmt: skip
            return
        if called not in self._report.trusted_by:
            self._report.trusted_by.append(called)
        self._report.checkpoint_size = max(receipt.size, self._report.checkpoint_size or 0)
