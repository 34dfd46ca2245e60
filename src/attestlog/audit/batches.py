"""Batch signatures while scanning: where an entry stands in its batch, and one check for a whole batch."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from attestlog.audit.findings import finding
from attestlog.core.entry import Entry
from attestlog.core.hashes import batch_message
from attestlog.core.merkle import inclusion_paths
from attestlog.core.report import Finding
from attestlog.core.signature import PublicKey, parse_signature, signed_message
from attestlog.errors import MalformedSignatureError, SignatureInvalidError


class OpenBatch(Struct):
    """A batch, and the position within it that is due next, which whoever reads it counts on."""

    signature: str
    """Hex, as in `hsm_signature`."""
    size: int
    index: int
    start: int
    """Sequence number of its first entry."""

    def due(self) -> str:
        """How the `hsm_signature` of the entry due begins."""
        return f"{self.signature}:{self.index}/{self.size}:"


Pending = tuple[int, int, str, str, bytes, bytes, PublicKey]
"""An entry to be verified with the rest of its batch: ordinal, sequence number, `hsm_signature`,
`signature_algorithm`, digest, leaf hash, key. A plain tuple, because one is made for every entry."""


def read_position(entry: Entry) -> OpenBatch | None:
    """Where a batch-signed entry says it stands; None if it cannot be read."""
    try:
        signature = parse_signature(entry.hsm_signature, entry.signature_algorithm)
    except MalformedSignatureError:
        return None
    start = max(0, entry.sequence_number - signature.index)
    return OpenBatch(signature.signature.hex(), signature.size, signature.index, start)


def settle(pending: list[Pending]) -> Iterator[tuple[int, Finding]]:
    """(ordinal, finding) for each of these entries of one batch whose signature does not hold."""
    if _whole_batch_holds(pending):
        return
    held: set[tuple[str, bytes, bytes]] = set()
    for ordinal, number, text, algorithm, digest, _, key in pending:
        try:
            signature = parse_signature(text, algorithm)
            message = signed_message(signature, digest)
            # Each distinct root's signature is verified once.
            if (key.key_id, signature.signature, message) not in held:
                key.verify(signature.signature, message)
                held.add((key.key_id, signature.signature, message))
        except MalformedSignatureError as error:
            yield ordinal, finding("entry.signature_form", str(error), number, found=text[:80])
        except SignatureInvalidError as error:
            yield ordinal, finding("entry.signature", str(error), number)


def _whole_batch_holds(pending: list[Pending]) -> bool:
    """The quick way: the tree of a complete batch made once, and each entry's path compared with it.

    True only if every entry would verify by itself; False says nothing yet.
    """
    _, _, texts, algorithms, _, leaves, keys = zip(*pending, strict=True)
    head, _, rest = texts[0].partition(":")
    size = len(pending)
    if not rest.startswith(f"0/{size}:") or any(key is not keys[0] for key in keys):
        return False
    root, paths = inclusion_paths(leaves)
    due = [f"{head}:{index}/{size}:{path.hex()}" for index, path in enumerate(paths)]
    if due != list(texts):
        return False
    try:
        keys[0].verify(parse_signature(texts[0], algorithms[0]).signature, batch_message(root))
    except (MalformedSignatureError, SignatureInvalidError):
        return False
    return True
