"""A witness: cosigns a checkpoint if it continues the one it cosigned before, and never otherwise.

The order of steps is the point. What may be cosigned is decided from the request (`core.witness`); then it is
made the last one, durably and on condition that nobody else was faster; then it is signed; then answered. A
crash anywhere leaves a witness that has promised no more than it remembers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Final, Self

from attestlog._internal.core.cosignature import cosign, verify_checkpoint_signature
from attestlog._internal.core.note import (
    COSIGNATURE_ED25519,
    COSIGNATURE_ML_DSA_44,
    NoteSignature,
    VerifierKey,
    check_key_name,
    format_vkey,
    parse_note,
    verified_signatures,
)
from attestlog._internal.core.signature import ED25519
from attestlog._internal.core.witness import (
    AddCheckpoint,
    CosignableCheckpoint,
    Seen,
    format_cosignatures,
    judge,
    parse_add_checkpoint,
    request_origin,
    verify_log_signatures,
)
from attestlog._internal.signers import Signer
from attestlog._internal.signers.asking import note_key, sign_verified
from attestlog._internal.witness.state import Evidence, LogState, WitnessState
from attestlog.errors import (
    ClockError,
    CorruptError,
    MalformedConfigError,
    NotFoundError,
    SignatureInvalidError,
    SplitViewError,
    StaleSizeError,
    UnknownOriginError,
    WrongKeyError,
)

CLOCK_TOLERANCE_S: Final = 60
"""A clock that stepped back by less repeats the last time; further back, nothing is signed."""

_KINDS: Final = {ED25519: COSIGNATURE_ED25519, "ML-DSA-44": COSIGNATURE_ML_DSA_44}

SecondsClock = Callable[[], float]
"""POSIX seconds."""


class Witness:
    """A witness at work. Threads may share it; so may processes share its state."""

    def __init__(
        self, state: WitnessState, signers: Sequence[Signer], clock: SecondsClock = time.time
    ) -> None:
        """Raises SignerError unless these are the keys it was begun with."""
        self.state, self._signers, self._clock = state, signers, clock
        self._signing = Lock()
        self.keys = tuple(cosigner_key(state.name, signer) for signer in signers)
        found = [format_vkey(key) for key in self.keys]
        if found != list(state.keys):
            raise WrongKeyError(
                f"the signers hold {', '.join(found)}, the witness cosigns with {', '.join(state.keys)}",
                expected=list(state.keys), found=found,
            )  # fmt: skip

    @classmethod
    def begin(
        cls,
        directory: Path,
        name: str,
        signers: Sequence[Signer],
        logs: Sequence[VerifierKey] = (),
        clock: SecondsClock = time.time,
    ) -> Self:
        """A new witness, in an empty folder, with these keys for good.

        Raises MalformedConfigError or MalformedNoteError for keys or names that cannot be; ExistsError.
        """
        vkeys = {format_vkey(cosigner_key(name, signer)): signer.uri for signer in signers}
        for log in logs:
            check_log_key(name, log)
        with ExitStack() as undo:
            state = undo.enter_context(WitnessState.create(directory, name, vkeys))
            begun = cls(state, signers, clock)
            for log in logs:
                begun.add_log(log)
            undo.pop_all()
        return begun

    def add_log(self, key: VerifierKey, origin: str | None = None) -> None:
        """Cosign this log's checkpoints from now on, for good. Raises MalformedConfigError.

        `origin`: what its checkpoints begin with, where that is not the key's name.
        """
        check_log_key(self.state.name, key, origin)
        self.state.add_log(key, origin)

    def add_checkpoint(self, body: bytes) -> bytes:
        """The answer to an add-checkpoint request: cosignature lines.

        Raises Malformed…Error; UnknownOriginError; TrustError or SignatureInvalidError (not by the log);
        StaleSizeError with the size cosigned last; ConsistencyError or SplitViewError (does not continue it);
        SignerError, ClockError, StorageError: nothing was cosigned, although the checkpoint may be the last
        one already: then asking again with its own size gets the cosignature.
        """
        request = parse_add_checkpoint(body)
        origin = request_origin(request)
        log = self._log(origin)
        signed = verify_log_signatures(request, {origin: log.keys})
        self._check_memory(signed, request, log)
        try:
            judged = judge(request, {origin: log.keys}, log.seen)
        except SplitViewError as error:
            raise self._split(error, signed, log) from None
        timestamp = self._timestamp(log)
        if not self.state.advance(judged, timestamp):
            now = self._log(origin).seen
            raise StaleSizeError(
                f"another checkpoint, of size {now.size}, was cosigned meanwhile", known_size=now.size
            )
        return format_cosignatures(self._cosign(judged, timestamp))

    def checkpoint(self, origin: str) -> bytes:
        """The log's latest checkpoint with the cosignatures. Raises UnknownOriginError or NotFoundError."""
        log = self._log(origin)
        if log.note is None:
            raise NotFoundError(f"no checkpoint of {origin!r} was cosigned yet", origin=origin)
        if log.cosigned is not None and log.cosigned.startswith(log.note):
            return log.cosigned
        # A crash, or the signer's, came between accepting it and cosigning: what was begun is ended.
        request = AddCheckpoint(log.seen.size, b"", parse_note(log.note))
        judged = judge(request, {origin: log.keys}, log.seen)
        return judged.note(self._cosign(judged, log.timestamp))

    def close(self) -> None:
        """Close its signers and its state."""
        for signer in self._signers:
            signer.close()
        self.state.close()

    def _log(self, origin: str) -> LogState:
        log = self.state.log(origin)
        if log is None:
            raise UnknownOriginError(f"the log {origin[:255]!r} is not known here", origin=origin[:255])
        return log

    def _timestamp(self, log: LogState) -> int:
        """Taken before the checkpoint is made the last one: at that time, no larger one had been seen."""
        now = int(self._clock())
        if now < log.timestamp - CLOCK_TOLERANCE_S:
            raise ClockError(
                f"the clock says {now}, the last cosignature is of {log.timestamp}",
                now=now, last=log.timestamp, tolerance_s=CLOCK_TOLERANCE_S,
            )  # fmt: skip
        return max(now, log.timestamp)

    def _cosign(self, judged: CosignableCheckpoint, timestamp: int) -> tuple[NoteSignature, ...]:
        lines = []
        for key, signer in zip(self.keys, self._signers, strict=True):
            with self._signing:
                lines.append(sign_verified(signer, partial(cosign, judged.text, key, timestamp)))
        # A crash before this, and the cosignature was given to nobody; after it, it is there to be fetched.
        self.state.keep_cosigned(judged.checkpoint, timestamp, judged.note(lines))
        return tuple(lines)

    def _check_memory(self, signed: CosignableCheckpoint, request: AddCheckpoint, log: LogState) -> None:
        """Raises CorruptError if this witness cosigned more than it remembers: an old copy was put back.

        Only its own cosignatures, verified, say so; whoever forges a line wedges nothing.
        """
        try:
            mine = verified_signatures(request.note, self.keys, verify_checkpoint_signature)
        except SignatureInvalidError:
            return
        found, seen = Seen(signed.checkpoint.size, signed.checkpoint.root), log.seen
        if mine and (found.size > seen.size or (found.size == seen.size and found.root != seen.root)):
            raise CorruptError(
                f"this witness cosigned {found.size} entries of {signed.checkpoint.origin!r} and remembers "
                f"{seen.size}: its state was rolled back",
                path=str(self.state.path), expected=found.size, found=seen.size,
            )  # fmt: skip

    def _split(self, error: SplitViewError, signed: CosignableCheckpoint, log: LogState) -> SplitViewError:
        """Both checkpoints, kept before anybody is answered."""
        ours, theirs = log.cosigned or log.note or b"", signed.note()
        origin = signed.checkpoint.origin
        self.state.keep_evidence(Evidence(origin, int(self._clock()), error.message, ours, theirs))
        return SplitViewError(error.message, ours=ours.decode(), theirs=theirs.decode(), origin=origin)


def check_log_key(name: str, log: VerifierKey, origin: str | None = None) -> None:
    """Raises MalformedConfigError where a witness of this name must not cosign for a log with this key."""
    if name in {log.name, origin}:
        # Its own key's lines over that log's checkpoints would be taken for the log's.
        raise MalformedConfigError(f"a log has the witness's own name {name!r}", member="log")
    if log.kind == COSIGNATURE_ED25519:
        raise MalformedConfigError(f"the key of log {log.name!r} is a witness's, of type 04", member="log")


def cosigner_key(name: str, signer: Signer) -> VerifierKey:
    """The vkey under which a signer cosigns. Raises MalformedConfigError or MalformedNoteError."""
    check_key_name(name)
    return note_key(name, signer, _KINDS, what="a witness's key", member="key")
