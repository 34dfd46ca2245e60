"""Proofs made from a log: reads only, needs no key and no lock.

Entry and stored hashes from the source, against the stored checkpoint or one
given. What it makes is verified before it is handed out, signatures apart:
whoever gets the proof verifies those.
"""

from __future__ import annotations

from attestlog._internal.core.checkpoint import Checkpoint, parse_checkpoint
from attestlog._internal.core.consistency import Prefix, format_consistency, verify_held, verify_prefix
from attestlog._internal.core.erasure import erase_line
from attestlog._internal.core.merkle import prove_consistency, prove_inclusion, prove_root
from attestlog._internal.core.note import parse_note
from attestlog._internal.core.proof import Proof, format_proof, read_proven_entry, verify_entry_inclusion
from attestlog._internal.storage.contract import LogSource
from attestlog._internal.storage.resolve import LogName, open_source
from attestlog.errors import AttestlogError, CorruptError, MalformedError, NotFoundError, VerificationError


def prove(
    log: LogName | LogSource,
    sequence_number: int,
    *,
    payload: bool = True,
    checkpoint: bytes | None = None,
) -> bytes:
    """A proof file for one entry of the log: see `core.proof`.

    `payload`: whether the entry's payload goes with it; without, the entry proves itself all the same.
    `checkpoint`: a signed checkpoint of this log to prove against, instead of the stored one.
    Raises NotFoundError if there is no such entry or the checkpoint does not cover it; CorruptError
    if what is stored does not hold together; MalformedNoteError or MalformedCheckpointError.
    """
    source = open_source(log)
    note, signed = _checkpoint(source, checkpoint)
    if not 0 <= sequence_number < signed.size:
        raise NotFoundError(
            f"the checkpoint covers {signed.size} entries, not entry {sequence_number}",
            path=source.where, sequence_number=sequence_number, checkpoint_size=signed.size,
        )  # fmt: skip
    try:
        line = source.line(sequence_number)
    except NotFoundError:
        if sequence_number < source.size():
            raise
        raise CorruptError(
            f"entry {sequence_number} is missing, the checkpoint covers {signed.size} entries",
            path=source.where, sequence_number=sequence_number,
        ) from None  # fmt: skip
    path = prove_inclusion(sequence_number, signed.size, source.hashes)
    proof = Proof(sequence_number, path, note, line)
    try:
        entry = read_proven_entry(proof)
        verify_entry_inclusion(proof, entry, signed)
    except (VerificationError, MalformedError) as error:
        raise _damaged(source, error, sequence_number) from None
    if not payload:
        proof = Proof(sequence_number, path, note, erase_line(line))
    return format_proof(proof)


def prove_prefix(log: LogName | LogSource, old: int | bytes, *, checkpoint: bytes | None = None) -> bytes:
    """A consistency file: the log's first entries are a prefix of its checkpoint; see `core.consistency`.

    `old`: how many entries, or an earlier checkpoint (a signed note), whose root must then be the log's.
    `checkpoint`: a later signed checkpoint of this log to prove against, instead of the stored one.
    Raises NotFoundError if `old` is not from 1 to the checkpoint's size; ConsistencyError if the
    checkpoints are of two histories; CorruptError, MalformedNoteError, MalformedCheckpointError.
    """
    source = open_source(log)
    note, signed = _checkpoint(source, checkpoint)
    held = parse_checkpoint(parse_note(old).text) if isinstance(old, bytes) else None
    size = held.size if held is not None else int(old)
    if not 0 < size <= signed.size:
        raise NotFoundError(
            f"the checkpoint covers {signed.size} entries, a prefix of it 1 to {signed.size}, not {size}",
            path=source.where, checkpoint_size=signed.size,
        )  # fmt: skip
    path = prove_consistency(size, signed.size, source.hashes)
    prefix = Prefix(size, prove_root(size, source.hashes), path, note)
    try:
        verify_prefix(prefix, signed)
    except VerificationError as error:
        raise _damaged(source, error, None) from None
    if held is not None:
        verify_held(prefix, signed.origin, held)
    return format_consistency(prefix)


def _checkpoint(source: LogSource, given: bytes | None) -> tuple[bytes, Checkpoint]:
    note = source.stored_checkpoint() if given is None else given
    return note, parse_checkpoint(parse_note(note).text)


def _damaged(source: LogSource, error: AttestlogError, sequence_number: int | None) -> CorruptError:
    """What does not verify when it was just made is damage: a proof of it would show nothing."""
    return CorruptError(
        f"nothing can be proved from what is stored: {error}",
        path=source.where, sequence_number=sequence_number, repair="tree",
    )  # fmt: skip
