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
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

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
from attestlog._internal.core.note import VerifierKey, format_vkey, parse_note, parse_vkey
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
from attestlog._internal.core.signature import PublicKey
from attestlog._internal.core.trust import TrustedCheckpoint, TrustPolicy, open_trusted_checkpoint
from attestlog._internal.judging.findings import finding
from attestlog._internal.judging.source import Source, open_plain, read_source, reason
from attestlog._internal.verifying import memory as memories
from attestlog._internal.verifying.memory import Memory, UnreadableMemoryError
from attestlog._internal.verifying.trust import load_held, load_trust
from attestlog._internal.verifying.witnessed import Policy, cosigners, load_policy
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


class _Trusted(NamedTuple):
    policy: TrustPolicy
    log_keys: list[VerifierKey]
    entry_keys: list[PublicKey]
    state_dir: Path | None = None
    """Where earlier verifications are remembered; None: not to be looked for."""


def is_proof(path: str | os.PathLike[str]) -> bool:
    """Whether the file is a proof, by its name or by its first line."""
    if Path(path).suffix in SUFFIXES:
        return True
    try:
        with open_plain(Path(path)) as file:
            return file.read(64).startswith(_HEADERS)
    except OSError:
        return False


def verify_proof(proof: Source, *, trust: Iterable[str | Path] = (), policy: Policy = None) -> None:
    """Returns if the proof, of an entry or of consistency, is good for whom the caller trusts; else raises.

    `trust`: checkpoint keys (vkeys) of logs, and entry keys in PEM, which must then have signed the
    entry if it names them. `policy`: a C2SP tlog-policy, whose quorum must have cosigned.
    Raises StorageError if a file cannot be read, MalformedError if it is no proof, TrustError (also
    where nothing was given to trust), SignatureInvalidError, HashMismatchError, InclusionError or
    ConsistencyError if it shows nothing.
    """
    data, trusted = read_source(proof, PROOF_SIZE_MAX_BYTES), _load(trust, policy)
    if data.startswith(_HEADERS[1]):
        open_consistency(data, trusted.policy, trusted.log_keys)
    else:
        open_proof(data, trusted.policy, trusted.log_keys, trusted.entry_keys)


def judge_proof(
    proof: Source,
    *,
    trust: Iterable[str | Path] = (),
    policy: Policy = None,
    held: Source | None = None,
    remember: bool = True,
    state_dir: str | Path | None = None,
) -> ProofReport:
    """What the proof shows; none of what is found is raised.

    `held`: an earlier checkpoint, whose tree a consistency file must start from.
    `remember`: compare with what verifications of this log remembered in `state_dir` (by default the
    user's), and know the log by its keys remembered there where none is given. Nothing is added to it.
    Raises what `parse_trust` raises of `trust`, MalformedTrustError of `policy`, MalformedNoteError or
    MalformedCheckpointError of `held`, and StorageError if these cannot be read.
    """
    begun = time.monotonic()
    report = ProofReport(subject="" if isinstance(proof, bytes) else str(proof))
    trusted = _load(trust, policy)
    since = load_held(held)
    if remember:
        trusted = trusted._replace(state_dir=_find_memory(report, state_dir))
    try:
        data = read_source(proof, PROOF_SIZE_MAX_BYTES)
    except StorageError as error:
        report.add(finding("proof.unreadable", str(error)))
        return report
    try:
        if data.startswith(_HEADERS[1]):
            _judge_consistency(report, data, trusted, since)
        else:
            _judge_entry(report, data, trusted)
    except (AttestlogError, RecursionError) as error:
        _add(report, error)
    report.duration_s = time.monotonic() - begun
    return report


def _judge_entry(report: ProofReport, data: bytes, trusted: _Trusted) -> None:
    proof = parse_proof(data)
    checkpoint = _open_checkpoint(report, proof.checkpoint, trusted)
    entry = read_proven_entry(proof)
    verify_entry_inclusion(proof, entry, checkpoint)
    report.sequence_number, report.entry = proof.index, msgspec.to_builtins(entry)
    report.has_payload, report.entry_key_id = entry.action_payload is not None, entry.signing_key_id
    if not report.has_payload:
        report.add(finding("proof.payload", "the payload is not in the proof, its hash is", proof.index))
    _judge_signature(report, entry, trusted)


def _judge_consistency(report: ProofReport, data: bytes, trusted: _Trusted, held: Checkpoint | None) -> None:
    report.format = "consistency"
    prefix = parse_consistency(data)
    checkpoint = _open_checkpoint(report, prefix.checkpoint, trusted)
    verify_prefix(prefix, checkpoint)
    report.old_size, report.old_root = prefix.old_size, prefix.old_root.hex()
    _compare_memory(report, _recall(report, trusted, checkpoint.origin), prefix.old_size, report.old_root)
    if held is not None:
        verify_held(prefix, checkpoint.origin, held)


def _open_checkpoint(report: ProofReport, note: bytes, trusted: _Trusted) -> Checkpoint:
    """The checkpoint; `report` receives who signed it, or that nobody did whom the caller trusts.

    Raises what `open_trusted_checkpoint` raises, but for TrustError.
    """
    checkpoint = parse_checkpoint(parse_note(note).text)
    memory = _recall(report, trusted, checkpoint.origin)
    keys = trusted.log_keys
    if not keys and not trusted.policy.logs and memory is not None:
        keys = [parse_vkey(vkey) for vkey in memory.checkpoint_keys]
        what = "no key was given: the log is known by its key from an earlier verification"
        report.add(finding("proof.key_remembered", what, found=memory.checkpoint_keys))
    try:
        if keys or trusted.policy.logs:
            _report_signatures(report, open_trusted_checkpoint(note, trusted.policy, keys))
        else:
            report.add(finding("trust.none", "no checkpoint key of the log was given"))
    except TrustError as error:
        code = "trust.quorum" if isinstance(error, QuorumError) else "trust.mismatch"
        report.add(finding(code, str(error), expected=error.need, found=error.have))
    report.origin, report.size, report.root = checkpoint.origin, checkpoint.size, checkpoint.root.hex()
    _compare_memory(report, memory, report.size, report.root)
    return checkpoint


def _find_memory(report: ProofReport, state_dir: str | Path | None) -> Path | None:
    try:
        return memories.default_state_dir() if state_dir is None else Path(state_dir)
    except RuntimeError as error:
        report.add(finding("memory.not_saved", f"nowhere to look for what is remembered: {error}"))
        return None


def _recall(report: ProofReport, trusted: _Trusted, origin: str) -> Memory | None:
    if trusted.state_dir is None:
        return None
    try:
        return memories.recall(trusted.state_dir, origin)
    except UnreadableMemoryError as error:
        code, what = "memory.unreadable", f"what is remembered cannot be read: {error}"
    except OSError as error:
        code, what = "memory.not_saved", f"{trusted.state_dir} cannot be looked into: {reason(error)}"
    if code not in [known.code for known in report.findings]:
        report.add(finding(code, what))
    return None


def _compare_memory(report: ProofReport, memory: Memory | None, size: int, root: str) -> None:
    """What the log itself signed, against what was seen of it: one size, one root."""
    for known, expected in memory.roots() if memory is not None and report.signed_by else []:
        if known == size and expected != root:
            what = f"the root at {size} is not the one remembered of this log"
            report.add(finding("memory.root", what, expected=expected, found=root))


def _report_signatures(report: ProofReport, trusted: TrustedCheckpoint) -> None:
    report.signed_by = [format_vkey(item.key) for item in trusted.logs]
    report.cosigned_by = cosigners(trusted)
    report.unknown_signatures = trusted.signed.unknown
    if not report.cosigned_by:
        report.add(finding("proof.not_cosigned", "no witness that was asked for has cosigned"))
    if report.unknown_signatures:
        what = f"{report.unknown_signatures} signatures of the checkpoint are by keys that were not given"
        report.add(finding("proof.signatures_unknown", what, found=report.unknown_signatures))


def _judge_signature(report: ProofReport, entry: Entry, trusted: _Trusted) -> None:
    key = verify_by_known_key(entry, trusted.entry_keys)
    report.is_entry_key_trusted = key is not None
    if key is None:
        what = f"the entry says that key {entry.signing_key_id[:16]} signed it, which was not given"
        report.add(finding("proof.entry_key", what, entry.sequence_number, found=entry.signing_key_id))


_CODES: Final[dict[type[AttestlogError], str]] = {
    MalformedSignatureError: "proof.entry_signature",
    MalformedError: "proof.malformed",
    TooLargeError: "proof.malformed",
    HashMismatchError: "proof.hash",
    InclusionError: "proof.inclusion",
    ConsistencyError: "proof.consistency",
    MissingExtraError: "checkpoint.unsupported",
}


def _add(report: ProofReport, error: AttestlogError | RecursionError) -> None:
    """The finding that an error amounts to."""
    if isinstance(error, RecursionError):
        report.add(finding("proof.malformed", "the entry is nested too deep"))
        return
    if isinstance(error, SignatureInvalidError):
        code = "proof.checkpoint" if error.key_name else "proof.entry_signature"
    elif isinstance(error, ConsistencyError) and error.member:
        code = "proof.held_size" if error.member == "size" else "proof.held"
    else:
        code = next(_CODES[kind] for kind in type(error).__mro__ if kind in _CODES)
    evidence = error.evidence()
    report.add(
        finding(
            code, str(error), report.sequence_number,
            expected=evidence.get("expected"), found=evidence.get("found"),
        )
    )  # fmt: skip


def _load(trust: Iterable[str | Path], policy: Policy) -> _Trusted:
    keys = load_trust(trust)
    log_keys = [key for key in keys if isinstance(key, VerifierKey)]
    return _Trusted(load_policy(policy), log_keys, [key for key in keys if isinstance(key, PublicKey)])
