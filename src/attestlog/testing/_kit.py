"""Clock, signers and oracle of the test kit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Final

from attestlog._internal.core.entry import Entry, check_canonical, decode_line, entry_hash, payload_hash
from attestlog._internal.core.genesis import Genesis, open_log_checkpoint, parse_genesis
from attestlog._internal.core.hashes import GENESIS_PREV_HASH, HASH_SIZE_BYTES, leaf_hash
from attestlog._internal.core.merkle import TILE_HEIGHT, Grown, Span
from attestlog._internal.core.report import Verdict
from attestlog._internal.core.reserved import governs
from attestlog._internal.core.rules import Rules
from attestlog._internal.core.signature import ECDSA_P256, PublicKey, public_key, verify_entry_signature
from attestlog._internal.log import Receipt
from attestlog._internal.signers import Passphrase, Signer, register_scheme
from attestlog._internal.signers.private_keys import PrivateKey, make_key, sign_with
from attestlog._internal.storage.contract import LogSource
from attestlog._internal.storage.resolve import LogName, open_source
from attestlog._internal.verifying import judge_log
from attestlog.errors import SignerError

__all__ = ["START_US", "FaultSigner", "ManualClock", "MemorySigner", "check_log"]

START_US: Final = 1_761_825_600_000_000
"""Where a ManualClock starts: 2025-10-30T12:00:00Z."""

MEMORY_SCHEME: Final = "memory"


class ManualClock:
    """A clock that stands still until it is turned."""

    def __init__(self, now_us: int = START_US) -> None:
        self.now_us = now_us

    def __call__(self) -> int:
        """Microseconds since 1970."""
        return self.now_us

    def advance(self, seconds: float) -> None:
        """Forward, or back if negative."""
        self.now_us += round(seconds * 1_000_000)


class MemorySigner:
    """A key in memory, found again by its `memory:` URI for as long as the process lives."""

    def __init__(self, algorithm: str = ECDSA_P256, *, key: PrivateKey | None = None) -> None:
        self._key: PrivateKey | None = key or make_key(algorithm)
        self._public_key = public_key(self._key.public_key())
        _memory_keys[self.uri] = self._key

    def __repr__(self) -> str:
        return f"MemorySigner({self.uri!r})"

    @property
    def public_key(self) -> PublicKey:
        """The key's public half."""
        return self._public_key

    @property
    def uri(self) -> str:
        """`memory:` and the key id."""
        return f"{MEMORY_SCHEME}:{self._public_key.key_id}"

    def sign(self, message: bytes) -> bytes:
        """As any signer. Raises SignerError after `close`."""
        key = self._key
        if key is None:
            raise SignerError(f"signer {self.uri} is closed")
        return sign_with(key, message)

    def close(self) -> None:
        """Forget the key."""
        self._key = None


class FaultSigner:
    """Signs as `inner` does until told otherwise: `answer` replaces `sign`, `gate` holds it back."""

    def __init__(self, inner: Signer) -> None:
        self.inner = inner
        self.answer: Callable[[bytes], bytes] | None = None
        """Called instead of the key; it may raise, or return what no key would."""
        self.gate = threading.Event()
        """Signing waits until this is set; it is, at first."""
        self.gate.set()
        self.reached = threading.Event()
        """Set once signing was asked for."""
        self.calls = 0

    @property
    def public_key(self) -> PublicKey:
        """The inner signer's."""
        return self.inner.public_key

    @property
    def uri(self) -> str:
        """The inner signer's."""
        return self.inner.uri

    def sign(self, message: bytes) -> bytes:
        """What `answer` makes of it, else the inner signer's signature."""
        self.calls += 1
        self.reached.set()
        self.gate.wait()
        return self.answer(message) if self.answer is not None else self.inner.sign(message)

    def close(self) -> None:
        """Close the inner signer."""
        self.inner.close()


def check_log(
    log: LogName | LogSource, acknowledged: Iterable[Receipt | tuple[int, str]] = ()
) -> list[Entry]:
    """The oracle: re-read the log through public paths and assert that everything in it holds.

    That is: the verifier's verdict; once more and independently, spelling, hashes, chain, signatures,
    the stored tree and the checkpoint; and that every acknowledged entry (a receipt, or its sequence
    number and entry hash) is there. Returns the entries.
    """
    source = open_source(log)
    report = judge_log(source, remember=False)
    assert report.verdict == Verdict.VERIFIED, f"{report.verdict}: {report.findings}"
    lines = list(source.lines())
    entries = [decode_line(line) for line in lines]
    genesis = parse_genesis(entries[0])
    previous, rules = GENESIS_PREV_HASH, Rules.of(genesis)
    for number, (entry, line) in enumerate(zip(entries, lines, strict=True)):
        check_canonical(entry, line)
        assert entry.sequence_number == number, f"entry {number} says it is {entry.sequence_number}"
        assert entry.prev_entry_hash == previous, f"entry {number} does not follow the one before"
        assert entry_hash(entry) == entry.entry_hash, f"entry {number} has another hash than it says"
        is_erased = entry.action_payload is None
        assert is_erased or payload_hash(entry) == entry.action_hash, (
            f"entry {number} has another payload than it says"
        )
        assert not number or entry.timestamp >= entries[number - 1].timestamp, f"entry {number} is earlier"
        key = rules.keys[entry.signing_key_id]
        verify_entry_signature(key, entry.signature_algorithm, entry.hsm_signature, entry.entry_hash)
        rules = rules.after(entry) if governs(entry) else rules
        previous = entry.entry_hash
    assert len({entry.entry_id for entry in entries}) == len(entries), "an entry_id appears twice"
    _check_tree(source, genesis, [leaf_hash(bytes.fromhex(entry.entry_hash)) for entry in entries])
    for item in acknowledged:
        number, digest = (item.sequence_number, item.entry_hash) if isinstance(item, Receipt) else item
        assert number < len(entries), f"acknowledged entry {number} is not among the {len(entries)}"
        assert entries[number].entry_hash == digest, f"entry {number} is not the one acknowledged"
    return entries


def _check_tree(source: LogSource, genesis: Genesis, leaves: list[bytes]) -> None:
    """The stored hashes are those of a prefix of the entries; the checkpoint covers no more than they do."""
    grown: list[Grown] = []
    Span().extended(leaves, grown)
    hashes = {(0, index): leaf for index, leaf in enumerate(leaves)} | {(at[0], at[1]): at[2] for at in grown}
    with source.snapshot() as snapshot:
        stored, note = snapshot.hash_bytes[0] // HASH_SIZE_BYTES, snapshot.checkpoint
        for level, size_bytes in sorted(snapshot.hash_bytes.items()):
            held = size_bytes // HASH_SIZE_BYTES
            assert held == stored >> TILE_HEIGHT * level, f"tree level {level} has {held} hashes of {stored}"
            data = snapshot.hashes(level, 0, held)
            wanted = b"".join(hashes[level, index] for index in range(held))
            assert data == wanted, f"tree level {level} is wrong"
    assert note is not None, "there is no checkpoint"
    checkpoint = open_log_checkpoint(note, genesis)
    assert checkpoint.size <= stored <= len(leaves), (
        f"{checkpoint.size} checkpointed, {stored} stored, {len(leaves)}"
    )
    assert Span().extended(leaves[: checkpoint.size]).root() == checkpoint.root, (
        "the checkpoint signs another root"
    )


_memory_keys: Final[dict[str, PrivateKey]] = {}


def _open_memory_signer(uri: str, passphrase: Passphrase | None) -> Signer:  # noqa: ARG001  every opener takes one
    if uri not in _memory_keys:
        raise SignerError(f"no key {uri} in this process")
    return MemorySigner(key=_memory_keys[uri])


register_scheme(MEMORY_SCHEME, _open_memory_signer)
