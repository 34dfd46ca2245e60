"""Logs as a witness sees them: checkpoints and consistency proofs, made by the judge of RFC 6962."""

from collections.abc import Sequence

from tests.support.logs import CheckpointKey
from tests.support.rfc6962 import mth, proof

from attestlog._internal.core.checkpoint import Checkpoint, format_checkpoint, sign_checkpoint
from attestlog._internal.core.note import NoteSignature, format_note
from attestlog._internal.core.witness import format_add_checkpoint


class SignedTree:
    """A log of `size_max` leaves, of which any prefix can be signed. Leaves from `fork` on are others."""

    def __init__(
        self, origin: str = "example.com/log", *, size_max: int = 40, fork: int | None = None
    ) -> None:
        self.origin, self.key = origin, CheckpointKey(name=origin)
        fork = size_max if fork is None else fork
        self.leaves = [b"%d%s" % (n, b"" if n < fork else b" forked") for n in range(size_max)]

    def checkpoint(self, size: int) -> Checkpoint:
        return Checkpoint(self.origin, size, mth(self.leaves[:size]))

    def text(self, size: int) -> str:
        return format_checkpoint(self.checkpoint(size))

    def note(self, size: int, more: Sequence[NoteSignature] = ()) -> bytes:
        """Signed by the log; with `more` signature lines."""
        note = sign_checkpoint(self.checkpoint(size), [(self.key.verifier, self.key.sign)])
        return note + format_note("", more).removeprefix(b"\n") if more else note

    def proof(self, old: int, size: int) -> bytes:
        return b"".join(proof(old, self.leaves[:size])) if old else b""

    def request(self, old: int, size: int) -> bytes:
        """A good one."""
        return format_add_checkpoint(old, self.proof(old, size), self.note(size))
