"""What a replica receives is verified by the verifier itself, from the state that the copy is in.

Dependencies on earlier entries concern the whole log: verifying the copy judges
them, as it would the original. Erasures do so as well, and destroy something: `erasing`
judges each before it is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from attestlog._internal.core import canonical
from attestlog._internal.core.batch import Head, Plan
from attestlog._internal.core.entry import decode_line, format_timestamp, parse_timestamp
from attestlog._internal.core.hashes import HASH_SIZE_BYTES
from attestlog._internal.core.lines import whole_lines
from attestlog._internal.core.merkle import Grown
from attestlog._internal.core.policy import POLICY_SIZE_MAX_BYTES, Policy, format_policy
from attestlog._internal.core.policy_change import POLICY_ACTION_TYPES
from attestlog._internal.core.replication import ends_batch
from attestlog._internal.core.reserved import SET_POLICY, acts, may_govern
from attestlog._internal.core.rules import Rules
from attestlog._internal.judging.erasures import AnyClaim
from attestlog._internal.judging.scan import State, check_sound, scan
from attestlog.errors import MalformedError, TooLargeError, VerificationError

POLICIES_READ_MAX_BYTES: Final = 16 * POLICY_SIZE_MAX_BYTES
"""Of one shipment. Each change reads a whole policy, however small the change is, so a shipment of 8,192
small changes of a large policy would hold a thread for minutes. The rest comes with the next request."""


def plans(head: Head, lines: Sequence[bytes], room: int, segment_entries: int, leaves: bytes) -> list[Plan]:
    """The commits that store these verified lines: none crosses a segment."""
    made, start = [], 0
    while start < len(lines):
        stop = min(len(lines), start + room)
        hashes = [leaves[at * HASH_SIZE_BYTES : (at + 1) * HASH_SIZE_BYTES] for at in range(start, stop)]
        last = decode_line(lines[stop - 1])
        grown: list[Grown] = []
        edge = head.edge.extended(hashes, grown)
        head = Head(edge.stop, last.entry_hash, parse_timestamp(last.timestamp), edge)
        made.append(Plan(head, [], [], hashes, grown, [], []))
        start, room = stop, segment_entries
    return made


def taken_at_once(policy: Policy, lines: Sequence[bytes]) -> int:
    """How many of these lines, which follow on `policy`, one request takes: whole batches, all if it can.

    Raises TooLargeError for a batch that alone changes the policy more often; writers sign such an entry
    last in its batch.
    """
    size_bytes, read_bytes = -1, 0
    for at, line in enumerate(lines):
        changed = _changes_policy(line)
        if not changed:
            continue
        if changed == SET_POLICY:
            size_bytes = len(line)
        elif size_bytes < 0:
            size_bytes = len(canonical.encode(format_policy(policy))) + len(line)
        else:
            size_bytes += len(line)
        size_bytes = min(size_bytes, POLICY_SIZE_MAX_BYTES)  # a larger one is refused unread
        read_bytes += size_bytes
        if read_bytes > POLICIES_READ_MAX_BYTES:
            stop = next((stop for stop in range(at, 0, -1) if ends_batch(lines[stop - 1])), 0)
            if not stop:
                raise TooLargeError(
                    f"the policies of one batch have more than {POLICIES_READ_MAX_BYTES} bytes",
                    size_bytes_max=POLICIES_READ_MAX_BYTES,
                )  # fmt: skip
            return stop
    return len(lines)


def _changes_policy(line: bytes) -> str:
    """By which name the line would change the policy; empty if it would not."""
    if not may_govern(line):
        return ""
    try:
        entry = decode_line(line)
    except MalformedError:
        return ""  # verifying it says what is wrong
    return entry.action_type if entry.action_type in POLICY_ACTION_TYPES and acts(entry) else ""


class Verified(NamedTuple):
    """What verified lines come to."""

    leaves: bytes
    """Their leaf hashes, one after the other."""
    rules: Rules
    """Those after them."""
    claims: list[AnyClaim]
    """What they say of payloads that are erased."""


def verify_lines(rules: Rules, head: Head, lines: Sequence[bytes]) -> Verified:
    """That these lines follow on `head`, under the rules in force there.

    Raises VerificationError with the findings unless every line holds and the last batch is whole.
    """
    timestamp = format_timestamp(head.timestamp_us) if head.size else ""
    scanned = scan(rules, whole_lines(lines), State(head.size, head.entry_hash, timestamp))
    check_sound(scanned)
    state = scanned.state
    if state.run is not None or state.batch is not None:
        raise VerificationError(
            f"what was sent from entry {head.size} on does not end with a whole entry and batch",
            sequence_number=state.position, finding="log.torn_batch",
        )  # fmt: skip
    if len(scanned.leaves) != len(lines) * HASH_SIZE_BYTES or state.position != head.size + len(lines):
        raise VerificationError(f"{len(lines)} lines do not follow on entry {head.size - 1}")
    return Verified(scanned.leaves, scanned.rules or rules, scanned.erasures)
