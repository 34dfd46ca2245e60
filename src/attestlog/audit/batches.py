"""Batch signatures while scanning: where an entry stands in its batch, and one check for a whole batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

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


class PendingEntry(NamedTuple):
    """An entry whose signature is yet to be verified with the rest of its batch."""

    ordinal: int
    sequence_number: int
    text: str
    """Its `hsm_signature`."""
    algorithm: str
    digest: bytes
    leaf: bytes
    key: PublicKey


def read_position(entry: Entry) -> OpenBatch | None:
    """Where a batch-signed entry says it stands; None if it cannot be read."""
    try:
        signature = parse_signature(entry.hsm_signature, entry.signature_algorithm)
    except MalformedSignatureError:
        return None
    start = max(0, entry.sequence_number - signature.index)
    return OpenBatch(signature.signature.hex(), signature.size, signature.index, start)


def settle(pending: list[PendingEntry]) -> Iterator[tuple[int, Finding]]:
    """(ordinal, finding) for each of these entries of one batch whose signature does not hold."""
    if _whole_batch_holds(pending):
        return
    held: set[tuple[str, bytes, bytes]] = set()
    for item in pending:
        number = item.sequence_number
        try:
            signature = parse_signature(item.text, item.algorithm)
            message = signed_message(signature, item.digest)
            # Each distinct root's signature is verified once.
            if (item.key.key_id, signature.signature, message) not in held:
                item.key.verify(signature.signature, message)
                held.add((item.key.key_id, signature.signature, message))
        except MalformedSignatureError as error:
            yield item.ordinal, finding("entry.signature_form", str(error), number, found=item.text[:80])
        except SignatureInvalidError as error:
            yield item.ordinal, finding("entry.signature", str(error), number)


def _whole_batch_holds(pending: list[PendingEntry]) -> bool:
    """The quick way: the tree of a complete batch made once, and each entry's path compared with it.

    True only if every entry would verify by itself; False says nothing yet.
    """
    head, _, rest = pending[0].text.partition(":")
    size, key = len(pending), pending[0].key
    if not rest.startswith(f"0/{size}:"):
        return False
    root, paths = inclusion_paths([item.leaf for item in pending])
    for index, (item, path) in enumerate(zip(pending, paths, strict=True)):
        if item.key is not key or item.text != f"{head}:{index}/{size}:{path.hex()}":
            return False
    try:
        key.verify(parse_signature(pending[0].text, pending[0].algorithm).signature, batch_message(root))
    except (MalformedSignatureError, SignatureInvalidError):
        return False
    return True
