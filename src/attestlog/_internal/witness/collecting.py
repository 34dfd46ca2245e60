"""Collecting cosignatures of a log's checkpoint, as a trust policy asks, before others see it.

    done = cosign_checkpoint("audit", parse_trust_policy(data))

All witnesses are asked at once. If the quorum is not met nothing is stored: the checkpoint stays as it was
(fail closed), unless it is asked to keep what came all the same (`fail_open`); either way it is said who did
not cosign, and why. The log's lock is not held while witnesses are waited for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from typing import Final

from attestlog._internal.core.checkpoint import Checkpoint, parse_checkpoint
from attestlog._internal.core.cosignature import verify_checkpoint_signature
from attestlog._internal.core.genesis import open_log_checkpoint
from attestlog._internal.core.merkle import prove_consistency
from attestlog._internal.core.note import (
    NoteSignature,
    VerifierKey,
    format_note,
    parse_note,
    verified_signatures,
)
from attestlog._internal.core.trust import TrustPolicy, verify_quorum
from attestlog._internal.storage.contract import LogSource, Store
from attestlog._internal.storage.resolve import LogName, open_source, open_store
from attestlog._internal.witness.asking import Prove, ask_witness
from attestlog.errors import AttestlogError, QuorumError, TrustError, WitnessError

TIMEOUT_S: Final = 15.0
"""For all witnesses together. Whoever has not answered by then has not cosigned."""

SignedLine = tuple[VerifierKey, NoteSignature]
Ask = Callable[..., list[SignedLine]]
"""As `ask_witness`."""

Outcome = list[SignedLine] | AttestlogError


@dataclass(frozen=True, slots=True)
class Cosigned:
    """A checkpoint with the cosignatures that came."""

    note: bytes
    checkpoint: Checkpoint
    witnesses: tuple[str, ...]
    """Names, in the policy, of those who cosigned."""
    failures: dict[str, AttestlogError] = field(default_factory=dict)
    """By name: what became of the others."""
    lacking: TrustError | None = None
    """What the quorum lacks, where it was not to stop anything."""


def cosign_checkpoint(
    log: LogName | Store,
    trust_policy: TrustPolicy,
    *,
    previous: bytes | None = None,
    fail_open: bool = False,
    ask: Ask = ask_witness,
    timeout_s: float = TIMEOUT_S,
) -> Cosigned:
    """Have the log's stored checkpoint cosigned, and store it with the cosignatures.

    `previous`: an earlier checkpoint with cosignatures: no witness may have forgotten what it cosigned there.
    Raises TrustError (`have`, `need`, `failures`) if the quorum is not met, and stores nothing, unless
    `fail_open`; ConflictError if another checkpoint was stored meanwhile; StorageError.
    """
    source = open_source(log)
    note = source.stored_checkpoint()
    checkpoint = open_log_checkpoint(note, source.genesis())
    prove = partial(_prove, source, checkpoint.size)
    done = collect_cosignatures(
        note, trust_policy, prove, previous=previous, fail_open=fail_open, ask=ask, timeout_s=timeout_s
    )
    if done.note != note:
        store = open_store(log)
        try:
            with store.exclusive():
                store.replace_checkpoint(note, done.note)
        finally:
            store.close()
    return done


def collect_cosignatures(
    note: bytes,
    trust_policy: TrustPolicy,
    prove: Prove,
    *,
    previous: bytes | None = None,
    fail_open: bool = False,
    ask: Ask = ask_witness,
    timeout_s: float = TIMEOUT_S,
) -> Cosigned:
    """The signed checkpoint with a cosignature of each witness of the policy that gave one.

    Raises TrustError if the quorum is not met, unless `fail_open`.
    """
    parsed, keys = parse_note(note), {witness.key: witness for witness in trust_policy.witnesses}
    held = _lines(note, list(keys))
    sizes = dict.fromkeys(keys, 0) | _cosigned_sizes(previous, list(keys))
    # One request brings the lines of all keys of a witness.
    by_url: dict[str | None, list[VerifierKey]] = {}
    for key, witness in keys.items():
        if key not in held:
            by_url.setdefault(witness.url, []).append(key)
    calls = {
        url: partial(ask, url, wanted, note, prove, old=max(sizes[key] for key in wanted))
        for url, wanted in by_url.items()
        if url is not None
    }
    outcomes = _all_within(timeout_s, calls)
    failures: dict[str, AttestlogError] = {}
    for url, wanted in by_url.items():
        outcome = outcomes.get(url, WitnessError("the policy has no URL for this witness"))
        if not isinstance(outcome, AttestlogError):
            held |= dict(outcome)
            outcome = WitnessError(f"witness {url} did not cosign with this key", url=url)
        failures |= {keys[key].name: outcome for key in wanted if key not in held}
    cosigned = [key for key in keys if key in held]
    lacking = _lacking(trust_policy, [keys[key].name for key in cosigned], failures)
    if lacking is not None and not fail_open:
        raise lacking
    others = [line for line in parsed.signatures if line not in held.values()]
    return Cosigned(
        format_note(parsed.text, [*others, *(held[key] for key in cosigned)]),
        parse_checkpoint(parsed.text), tuple(keys[key].name for key in cosigned), failures, lacking,
    )  # fmt: skip


def _lines(note: bytes, keys: Sequence[VerifierKey]) -> dict[VerifierKey, NoteSignature]:
    """The cosignatures that a checkpoint carries already, verified."""
    return dict(verified_signatures(parse_note(note), keys, verify_checkpoint_signature))


def _cosigned_sizes(previous: bytes | None, keys: Sequence[VerifierKey]) -> dict[VerifierKey, int]:
    if previous is None:
        return {}
    size = parse_checkpoint(parse_note(previous).text).size
    return dict.fromkeys(_lines(previous, keys), size)


def _prove(source: LogSource, size: int, old: int) -> bytes:
    return prove_consistency(old, size, source.hashes)


def _lacking(
    trust_policy: TrustPolicy, names: Sequence[str], failures: dict[str, AttestlogError]
) -> QuorumError | None:
    """What to raise if these witnesses are no quorum: with why the others did not cosign."""
    try:
        verify_quorum(trust_policy, names)
    except QuorumError as error:
        return error.with_evidence(failures={name: failure.message for name, failure in failures.items()})
    return None


def _all_within(
    timeout_s: float, calls: Mapping[str, Callable[[], list[SignedLine]]]
) -> dict[str | None, Outcome]:
    """What each call returned or raised; who has not by then is left alone."""
    outcomes: SimpleQueue[tuple[str, Outcome]] = SimpleQueue()

    def run(url: str, call: Callable[[], list[SignedLine]]) -> None:
        try:
            outcomes.put((url, call()))
        except AttestlogError as error:
            outcomes.put((url, error))
        except Exception as error:  # noqa: BLE001 - a defect in one call must not look like a slow witness
            outcomes.put((url, WitnessError(f"asking witness {url} failed: {error!r}", url=url)))

    for url, call in calls.items():
        threading.Thread(target=run, args=(url, call), name="attestlog-witness", daemon=True).start()
    deadline = time.monotonic() + timeout_s
    found: dict[str | None, Outcome] = {}
    while len(found) < len(calls):
        try:
            url, outcome = outcomes.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            break
        found[url] = outcome
    for url in calls.keys() - found.keys():
        message = f"witness {url} gave no answer within {timeout_s:g} s"
        found[url] = WitnessError(message, url=url, retryable=True)
    return found
