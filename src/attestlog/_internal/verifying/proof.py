"""Proof files judged offline: what one shows, to whom, and what it does not.

    report = judge_proof("x.tlog-proof", trust=[vkey])     what was shown, in a report
    verify_proof("x.tlog-proof", trust=[vkey])             nothing, or the error that says why not

Nothing is asked but the file, and what earlier verifications of the log
remembered: the log may be gone. A checkpoint key (vkey) that is trusted makes
the checkpoint count, and with it the tree; an entry key in PEM makes the
entry's own signature count beside it. Hashes and key ids have nothing in a
proof to be compared with.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from attestlog._internal.core.checkpoint import Checkpoint, parse_checkpoint
from attestlog._internal.core.consistency import (
    CONSISTENCY_HEADER,
    open_consistency,
    parse_consistency,
    verify_held,
    verify_prefix,
)
from attestlog._internal.core.entry import Entry
from attestlog._internal.core.note import format_vkey, parse_note, parse_vkey
from attestlog._internal.core.proof import (
    PROOF_HEADER,
    PROOF_SIZE_MAX_BYTES,
    open_proof,
    parse_proof,
    read_proven_entry,
    verify_by_known_key,
    verify_entry_inclusion,
)
from attestlog._internal.core.report import ProofReport
from attestlog._internal.core.trust import TrustedCheckpoint, open_trusted_checkpoint
from attestlog._internal.verifying.given import Given, read_given, read_small_file
from attestlog._internal.verifying.memory import Memory
from attestlog._internal.verifying.session import AnyTrustPolicy, Session, cosigners
from attestlog.errors import (
    AttestlogError,
    ConsistencyError,
    HashMismatchError,
    InclusionError,
    MalformedError,
    MalformedSignatureError,
    MissingExtraError,
    QuorumError,
    SignatureInvalidError,
    StorageError,
    TooLargeError,
    TrustError,
)

SUFFIXES: Final = (".tlog-proof", ".tlog-consistency")
"""What proof files are called; `is_proof` also looks inside."""

_HEADERS: Final = (f"{PROOF_HEADER}\n".encode(), f"{CONSISTENCY_HEADER}\n".encode())


def is_proof(path: str | os.PathLike[str]) -> bool:
    """Whether the file is a proof, by its name or by its first line."""
    if Path(path).suffix in SUFFIXES:
        return True
    try:
        return read_small_file(Path(path), 64).startswith(_HEADERS)
    except OSError:
        return False


def verify_proof(
    proof: Given, *, trust: Iterable[str | Path] = (), trust_policy: AnyTrustPolicy = None
) -> None:
    """Returns if the proof, of an entry or of consistency, holds under what the caller trusts; else raises.

    `trust`: checkpoint keys (vkeys) of logs, and entry keys in PEM, which must then have signed the
    entry if it names them. `trust_policy`: a C2SP tlog-policy, whose quorum must have cosigned.
    Raises StorageError if a file cannot be read, MalformedError if it is not a proof, TrustError (also
    where nothing was given to trust), SignatureInvalidError, HashMismatchError, InclusionError or
    ConsistencyError if it shows nothing.
    """
    data = read_given(proof, PROOF_SIZE_MAX_BYTES)
    session = Session(lambda _: None, trust=trust, trust_policy=trust_policy)
    if data.startswith(_HEADERS[1]):
        open_consistency(data, session.trust_policy, session.log_keys)
    else:
        open_proof(data, session.trust_policy, session.log_keys, session.entry_keys)


def judge_proof(
    proof: Given,
    *,
    trust: Iterable[str | Path] = (),
    trust_policy: AnyTrustPolicy = None,
    held: Given | None = None,
    remember: bool = True,
    state_dir: str | Path | None = None,
) -> ProofReport:
    """What the proof shows. What is found is in the report, and is not raised.

    `held`: an earlier checkpoint, whose tree a consistency file must start from.
    `remember`: compare with what verifications of this log remembered in `state_dir` (by default the
    user's). Without a key given, the log is known by its keys remembered there. Nothing is added to it.
    Raises what `Session` raises of `trust`, `trust_policy` and `held`.
    """
    begun = time.monotonic()
    report = ProofReport(subject="" if isinstance(proof, bytes) else str(proof))
    session = Session(report.add, trust=trust, trust_policy=trust_policy, held=held)
    if remember:
        session.use_memory(state_dir)
    try:
        data = read_given(proof, PROOF_SIZE_MAX_BYTES)
    except StorageError as error:
        session.find("proof.unreadable", str(error))
        return report
    try:
        if data.startswith(_HEADERS[1]):
            _judge_consistency(report, data, session)
        else:
            _judge_entry(report, data, session)
    except (AttestlogError, RecursionError) as error:
        _add(report, session, error)
    report.duration_s = time.monotonic() - begun
    return report


def _judge_entry(report: ProofReport, data: bytes, session: Session) -> None:
    proof = parse_proof(data)
    checkpoint, _ = _open_checkpoint(report, proof.checkpoint, session)
    entry = read_proven_entry(proof)
    verify_entry_inclusion(proof, entry, checkpoint)
    report.sequence_number, report.entry = proof.index, msgspec.to_builtins(entry)
    report.has_payload, report.entry_key_id = entry.action_payload is not None, entry.signing_key_id
    if not report.has_payload:
        session.find("proof.payload", "the payload is not in the proof, its hash is", proof.index)
    _judge_signature(report, entry, session)


def _judge_consistency(report: ProofReport, data: bytes, session: Session) -> None:
    report.format = "consistency"
    prefix = parse_consistency(data)
    checkpoint, known = _open_checkpoint(report, prefix.checkpoint, session)
    verify_prefix(prefix, checkpoint)
    report.old_size, report.old_root = prefix.old_size, prefix.old_root.hex()
    _compare_memories(report, session, known, prefix.old_size, report.old_root)
    if session.held is not None:
        verify_held(prefix, checkpoint.origin, session.held)


def _open_checkpoint(report: ProofReport, note: bytes, session: Session) -> tuple[Checkpoint, list[Memory]]:
    """The checkpoint, and what is remembered of its log, or of logs of whose it may be.

    `report` receives who signed it, or that nobody did whom the caller trusts. Raises what
    `open_trusted_checkpoint` raises, but for TrustError.
    """
    parsed = parse_note(note)
    checkpoint = parse_checkpoint(parsed.text)
    known = session.recall_signers(parsed, checkpoint.origin)
    keys, trust_policy = session.log_keys, session.trust_policy
    if not keys and not trust_policy.logs and known:
        vkeys = list(dict.fromkeys(vkey for memory in known for vkey in memory.checkpoint_keys))
        keys = [parse_vkey(vkey) for vkey in vkeys]
        what = "no key was given: the log is known by its key from an earlier verification"
        session.find("proof.key_remembered", what, found=vkeys)
        report.is_key_remembered = True
    try:
        if keys or trust_policy.logs:
            _report_signatures(report, session, open_trusted_checkpoint(note, trust_policy, keys))
        else:
            session.find("trust.none", "no checkpoint key of the log was given")
        report.trusted_by = _vouching(report, known)
    except TrustError as error:
        code = "trust.quorum" if isinstance(error, QuorumError) else "trust.mismatch"
        session.find(code, str(error), expected=error.need, found=error.have)
    report.origin, report.size, report.root = checkpoint.origin, checkpoint.size, checkpoint.root.hex()
    _compare_memories(report, session, known, report.size, report.root)
    return checkpoint, known


def _vouching(report: ProofReport, known: Sequence[Memory]) -> list[str]:
    """What vouches for the log: the keys given that signed; where they are remembered, what vouched then."""
    if not report.is_key_remembered:
        return report.signed_by
    signers = [memory for memory in known if set(memory.checkpoint_keys) & set(report.signed_by)]
    return list(dict.fromkeys(item for memory in signers for item in memory.trusted_by))


def _compare_memories(
    report: ProofReport, session: Session, known: list[Memory], size: int, root: str
) -> None:
    """What the log itself signed, against what was seen of it: one size, one root.

    Where the checkpoint may be of several logs, one that it does not contradict is enough.
    """
    others = [dict(memory.roots()).get(size, root) for memory in known if report.signed_by]
    if others and root not in others:
        what = f"the root at {size} is not the one remembered of this log"
        session.find("memory.root", what, expected=others[0], found=root)


def _report_signatures(report: ProofReport, session: Session, trusted: TrustedCheckpoint) -> None:
    report.signed_by = [format_vkey(item.key) for item in trusted.logs]
    report.cosigned_by = cosigners(trusted)
    report.unknown_signatures = trusted.signed.unknown
    if not report.cosigned_by:
        session.find("proof.not_cosigned", "no witness that was asked for has cosigned")
    if report.unknown_signatures:
        what = f"{report.unknown_signatures} signatures of the checkpoint are by keys that were not given"
        session.find("proof.signatures_unknown", what, found=report.unknown_signatures)


def _judge_signature(report: ProofReport, entry: Entry, session: Session) -> None:
    key = verify_by_known_key(entry, session.entry_keys)
    report.is_entry_key_trusted = key is not None
    if key is None:
        what = f"the entry says that key {entry.signing_key_id[:16]} signed it, which was not given"
        session.find("proof.entry_key", what, entry.sequence_number, found=entry.signing_key_id)


_CODES: Final[dict[type[AttestlogError], str]] = {
    MalformedSignatureError: "proof.entry_signature",
    MalformedError: "proof.malformed",
    TooLargeError: "proof.malformed",
    HashMismatchError: "proof.hash",
    InclusionError: "proof.inclusion",
    ConsistencyError: "proof.consistency",
    MissingExtraError: "checkpoint.unsupported",
}


def _add(report: ProofReport, session: Session, error: AttestlogError | RecursionError) -> None:
    """The finding that an error amounts to."""
    if isinstance(error, RecursionError):
        session.find("proof.malformed", "the entry is nested too deep")
        return
    if isinstance(error, SignatureInvalidError):
        code = "proof.checkpoint" if error.key_name else "proof.entry_signature"
    elif isinstance(error, ConsistencyError) and error.member:
        code = "proof.held_size" if error.member == "size" else "proof.held"
    else:
        code = next(_CODES[kind] for kind in type(error).__mro__ if kind in _CODES)
    evidence = error.evidence()
    session.find(
        code, str(error), report.sequence_number,
        expected=evidence.get("expected"), found=evidence.get("found"),
    )  # fmt: skip
