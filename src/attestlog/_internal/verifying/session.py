"""What every verifier has in common: whom the caller trusts, what was seen before, where findings go.

Any one key or hash that vouches suffices. An entry key vouches when it is in
the genesis entry and signed it; a checkpoint key when it is in the genesis
entry and signed the checkpoint; a hash when it is the genesis entry's. A log
for which not one vouches is FORKED: sound perhaps, and not the one that was asked
for.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from attestlog._internal import places
from attestlog._internal.core.checkpoint import Checkpoint, is_example, parse_checkpoint
from attestlog._internal.core.cosignature import open_signed_checkpoint
from attestlog._internal.core.note import Note, VerifierKey, format_vkey, parse_note, parse_vkey
from attestlog._internal.core.report import Cosigner, Finding, Report, Verdict
from attestlog._internal.core.signature import PublicKey, load_public_key
from attestlog._internal.core.trust import TrustedCheckpoint, TrustPolicy, parse_trust_policy, verify_quorum
from attestlog._internal.judging.findings import finding
from attestlog._internal.verifying import memory as memories
from attestlog._internal.verifying.given import Given, read_given, read_small_file, reason
from attestlog._internal.verifying.memory import Memory, UnreadableMemoryError
from attestlog.errors import (
    MalformedConfigError,
    MalformedError,
    MissingExtraError,
    NoHomeError,
    NotFoundError,
    SignatureInvalidError,
    StorageError,
    TrustError,
)

AnyTrustPolicy = Given | TrustPolicy | None
"""A trust policy, the bytes or the path of one, or nothing."""


_HASH: Final = re.compile(r"[0-9a-f]{64}")


class Recalled(NamedTuple):
    """What is remembered of a log."""

    memory: Memory | None
    is_reliable: bool = True
    """False if something is remembered that cannot be used: then `memory` is None."""


class Session:
    """One verification."""

    def __init__(
        self,
        add: Callable[[Finding], None],
        *,
        trust: Iterable[str | Path] = (),
        trust_policy: AnyTrustPolicy = None,
        held: Given | Checkpoint | None = None,
    ) -> None:
        """`add` receives each finding. Raises as `load_trust_policy`, `load_trust` and `load_held`."""
        self.add = add
        self.trust_policy = load_trust_policy(trust_policy)
        keys = load_trust(trust)
        self.log_keys = [key for key in keys if isinstance(key, VerifierKey)]
        """Checkpoint keys that the caller trusts, without those of the policy."""
        self.entry_keys = [key for key in keys if isinstance(key, PublicKey)]
        self.trusted = [*map(_id, keys), *(format_vkey(log.key) for log in self.trust_policy.logs)]
        """All that the caller trusts, the policy's logs included: vkeys, and 64 hex digits."""
        self.held = load_held(held)
        self.held_is: HeldIs = "chain" if isinstance(held, Checkpoint) else "held"
        """What the log must begin with: a checkpoint that the caller kept, or what a later log continues."""
        self._state_dir: Path | None = None

    def find(
        self, code: str, message: str, number: int | None = None, *, expected: Any = None, found: Any = None
    ) -> None:
        """Add a finding."""
        self.add(finding(code, message, number, expected=expected, found=found))

    def add_all(self, findings: Iterable[Finding]) -> None:
        """Add findings as they come."""
        for item in findings:
            self.add(item)

    def use_memory(self, state_dir: str | Path | None) -> None:
        """Remember in this directory, or the user's own. Without this call nothing is remembered."""
        try:
            self._state_dir = Path(state_dir) if state_dir is not None else places.state_dir()
        except NoHomeError as error:
            self.find("memory.not_saved", f"nowhere to remember: {error}")

    def recall(self, origin: str, genesis_hash: str) -> Recalled:
        """What is remembered that the log of this origin and genesis entry must be compared with."""
        known, is_reliable = self._ask(lambda folder: [memories.recall(folder, origin, genesis_hash)])
        return Recalled(next(iter(known), None), is_reliable)

    def compare_place(self, place: str, origin: str, genesis_hash: str) -> None:
        """Say it where another log was verified at this path or URL: its name may only look alike."""
        if self._state_dir is None or not place:
            return
        try:
            known = memories.recall_place(self._state_dir, place)
        except (UnreadableMemoryError, OSError) as error:
            self.find("memory.not_saved", f"which log was verified here before cannot be read: {error}")
            return
        if known is not None and (known.origin, known.genesis_hash) != (origin, genesis_hash):
            what = f"another log was verified here before: {known.origin}, {known.genesis_hash[:16]}"
            self.find("memory.place", what, expected=known.origin, found=origin)

    def recall_signers(self, note: Note, origin: str) -> list[Memory]:
        """What is remembered of logs of this origin that may have signed the checkpoint.

        It is all that is remembered, unless the origin is an example's: then of the logs one of whose keys is
        named in the note.
        """
        known, _ = self._ask(lambda folder: memories.recall_all(folder, origin))
        return memories.signers_among(known, note) if is_example(origin) else known

    def _ask(self, recall: Callable[[Path], Iterable[Memory | None]]) -> tuple[list[Memory], bool]:
        """What is remembered; and whether that, be it nothing, is to be relied on."""
        if self._state_dir is None:
            return [], True
        try:
            return [memory for memory in recall(self._state_dir) if memory is not None], True
        except UnreadableMemoryError as error:
            self.find("memory.unreadable", f"what is remembered cannot be read: {error}")
            return [], False
        except OSError as error:
            self.find("memory.not_saved", f"{self._state_dir} cannot be looked into: {reason(error)}")
            self._state_dir = None
            return [], True

    def remember(
        self, memory: Memory, place: str, seen: Memory | None, compare: Callable[[Memory], Iterable[Finding]]
    ) -> None:
        """Keep it for the next verification, if anything is remembered at all.

        `place`: its path or URL, or empty. `seen`: what was recalled before. `compare`: findings about what
        another verification, which ended meanwhile, remembered instead: a fault, and nothing is kept.
        """
        if self._state_dir is None:
            return
        try:
            # Each turn but the last is one in which another verification ended.
            while (known := memories.remember(self._state_dir, memory, seen)) is not None:
                findings = list(compare(known))
                self.add_all(findings)
                if any(item.verdict != Verdict.VERIFIED for item in findings):
                    return
                seen = known
            if place:
                which = memories.Place(place=place, origin=memory.origin, genesis_hash=memory.genesis_hash)
                memories.remember_place(self._state_dir, which, replaces=bool(memory.trusted_by))
        except OSError as error:
            self.find("memory.not_saved", f"{self._state_dir} cannot be written: {reason(error)}")
        except UnreadableMemoryError as error:
            self.find("memory.unreadable", str(error))

    def judge_witnesses(self, note: bytes, keys: Sequence[VerifierKey], report: Report) -> None:
        """See the function of this name; by the session's trust policy."""
        self.add_all(judge_witnesses(note, keys, self.trust_policy, report))

    def credit(self, report: Report, vouching: Iterable[str]) -> bool:
        """Report which of the caller's keys and hashes are among those that vouch for the log.

        False if the caller gave some, and not one of them vouches. A checkpoint held counts beside these.
        """
        known = frozenset(vouching)
        report.trusted_by = [item for item in self.trusted if item in known]
        is_vouched = bool(report.trusted_by) or not self.trusted
        if report.held_size is not None and self.held_is == "held":
            report.trusted_by.append(f"the checkpoint held over {report.held_size} entries")
        return is_vouched


def load_trust(items: Iterable[str | Path]) -> list[VerifierKey | PublicKey | str]:
    """Each item as the key it is; a string is 64 hex digits (of an entry key or a genesis entry).

    An item is one of these, PEM text, or the path of a file that holds a public key in PEM. One alone need
    not stand in a list: a string is never taken for its letters.
    Raises MalformedConfigError for anything else, StorageError if a file cannot be read.
    """
    if isinstance(items, (str, Path)):
        items = [items]
    return [_load(item) for item in items]


HeldIs = Literal["held", "chain"]
"""With what a finding's code begins."""

HELD_WORDS: Final[dict[HeldIs, str]] = {"held": "the checkpoint held", "chain": "what a later log continues"}


def load_held(held: Given | Checkpoint | None) -> Checkpoint | None:
    """A checkpoint that the caller kept: its text; who signed it is not looked at.

    Raises MalformedNoteError, MalformedCheckpointError, or StorageError if its file cannot be read.
    """
    if held is None or isinstance(held, Checkpoint):
        return held
    return parse_checkpoint(parse_note(read_given(held)).text)


def load_trust_policy(trust_policy: AnyTrustPolicy) -> TrustPolicy:
    """Raises MalformedTrustError, or StorageError if the file cannot be read."""
    if isinstance(trust_policy, TrustPolicy):
        return trust_policy
    return TrustPolicy() if trust_policy is None else parse_trust_policy(read_given(trust_policy))


def judge_witnesses(
    note: bytes, keys: Sequence[VerifierKey], trust_policy: TrustPolicy, report: Report
) -> Iterator[Finding]:
    """Findings where the quorum is not met; `report` receives who cosigned.

    `note`: a checkpoint that one of `keys`, the log's, is known to have signed.
    """
    names = {witness.key: witness.name for witness in trust_policy.witnesses}
    try:
        signed = open_signed_checkpoint(note, [*keys, *names])
        found = [(names[item.key], item) for item in signed.signatures if item.key in names]
        report.cosigned_by = [_cosigner(name, item.key, item.timestamp) for name, item in found]
        verify_quorum(trust_policy, [name for name, _ in found])
    except SignatureInvalidError as error:
        yield finding("checkpoint.cosignature", str(error), found=error.key_name)
    except MissingExtraError as error:
        yield finding("checkpoint.unsupported", str(error))
    except TrustError as error:
        yield finding("trust.quorum", str(error), expected=error.need, found=error.have)


def another_log(memory: Memory, genesis_hash: str) -> Finding:
    """The finding where what is remembered is of another log than the one with this genesis entry."""
    what = "another log of this origin is remembered"
    return finding("memory.genesis", what, 0, expected=memory.genesis_hash, found=genesis_hash)


def judge_age(report: Report, max_age_s: float | None, last: float | None = None) -> Iterator[Finding]:
    """A finding where what dates the log is older than `max_age_s`, or nothing does.

    What dates it: witnesses of the trust policy, time stamps of trusted authorities, and `last`, the time of
    its last entry by the writer's clock, in seconds since 1970; the youngest counts.
    """
    if max_age_s is None:
        return
    times = [last] if last is not None else []
    if report.timestamped_at is not None:
        times.append(datetime.fromisoformat(report.timestamped_at).timestamp())
    if "trust.quorum" not in report.finding_counts:
        times += [float(cosigner.timestamp) for cosigner in report.cosigned_by if cosigner.timestamp]
    oldest = time.time() - max_age_s
    if not times:
        yield finding("log.age", "no witness and no time stamp says how old the log is", expected=oldest)
    elif max(times) < oldest:
        age_s = time.time() - max(times)
        what = f"nothing dates the log later than {age_s:.0f} s ago, {max_age_s:.0f} s were asked for"
        yield finding("log.age", what, expected=oldest, found=max(times))


def replaced_log(memory: Memory, genesis_hash: str) -> Finding:
    """The finding where a key that was given vouches for this log, and none did for the one remembered."""
    what = "another log of this origin was remembered, for which no key vouched: this one replaces it"
    return finding("memory.replaced", what, 0, expected=memory.genesis_hash, found=genesis_hash)


def not_compared(known: Memory) -> Finding:
    """The finding where what another verification remembered meanwhile cannot be compared now."""
    what = f"another verification remembered {known.size} entries meanwhile: verify again, to compare them"
    return finding("memory.unreadable", what, found=known.size)


def compare_age(checkpoint: Checkpoint, memory: Memory) -> Iterator[Finding]:
    """A finding where the log's checkpoint is older than one that is remembered."""
    if checkpoint.size < memory.checkpoint_size:
        what = f"checkpoint over {checkpoint.size} entries, one over {memory.checkpoint_size} is remembered"
        yield finding("checkpoint.older", what, expected=memory.checkpoint_size, found=checkpoint.size)


def held_of_another(held: Checkpoint, origin: str, held_is: HeldIs = "held") -> Finding:
    """The finding where what the log must begin with is not of this origin."""
    what = f"{HELD_WORDS[held_is]} is of {held.origin}"
    return finding(f"{held_is}.origin", what, expected=held.origin, found=origin)


def cosigners(trusted: TrustedCheckpoint) -> list[Cosigner]:
    """The witnesses of an accepted checkpoint, for a report."""
    return [_cosigner(name, item.key, item.timestamp) for name, item in trusted.witnesses]


def _cosigner(name: str, key: VerifierKey, timestamp: int | None) -> Cosigner:
    return Cosigner(name=name, vkey=format_vkey(key), timestamp=timestamp)


def _id(item: VerifierKey | PublicKey | str) -> str:
    if isinstance(item, VerifierKey):
        return format_vkey(item)
    return item.key_id if isinstance(item, PublicKey) else item


def _load(item: str | Path) -> VerifierKey | PublicKey | str:
    text = str(item).strip()
    if _HASH.fullmatch(text):
        return text
    if text.startswith("-----BEGIN"):
        return _public_key(text.encode(), "the PEM text")
    try:
        return parse_vkey(text)
    except MalformedError:
        pass
    try:
        data = read_small_file(Path(item))
    except (FileNotFoundError, ValueError):
        raise NotFoundError(
            f"{text!r} is no key id, genesis hash or verifier key, and there is no such file", path=text
        ) from None
    except OSError as error:
        raise StorageError(f"{text} cannot be read: {reason(error)}", path=text) from None
    return _public_key(data, text)


def _public_key(data: bytes, where: str) -> PublicKey:
    try:
        return load_public_key(data)
    except MalformedError as error:
        raise MalformedConfigError(f"{where}: {error}") from None
