"""Logs that continue others: what is carried over from an older log, and the chain back to the first.

    continues = carry_over("audit-2026", reason="a new year")         # for `create(…, continues=continues)`
    reports = judge_chain("audit-2027")                               # this log, then those it continues

The genesis entry of a later log names the older one by its genesis hash, how many of its entries are carried
over and their root (core.genesis.Continues). The older log stays as it is. It is followed where it is at
hand: at a place that the caller names, or that this user's configuration does. Specified in
docs/spec/genesis.md.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from attestlog._internal.config import configs, identity
from attestlog._internal.core.checkpoint import Checkpoint, parse_checkpoint
from attestlog._internal.core.cosignature import check_every_type, open_signed_checkpoint
from attestlog._internal.core.genesis import Continues
from attestlog._internal.core.note import parse_note, parse_vkey
from attestlog._internal.core.report import Report, Verdict
from attestlog._internal.judging.findings import finding
from attestlog._internal.places import state_dir as user_state_dir
from attestlog._internal.storage.contract import LogSource
from attestlog._internal.storage.resolve import LogName, open_source
from attestlog._internal.verifying.given import read_given
from attestlog._internal.verifying.memory import UnreadableMemoryError, recall_all, signers_among
from attestlog._internal.verifying.whole import judge_log
from attestlog.errors import AttestlogError, CorruptError, NoHomeError, NotFoundError

CHAIN_MAX: Final = 1_000
"""Logs that are followed: a new one each day for years."""

_CARRIED: Final = frozenset({Verdict.VERIFIED, Verdict.INCOMPLETE, Verdict.TRUNCATED})
"""Of findings about a log of which what is there can be carried over: sound, and perhaps too short."""


class CarriedOver(NamedTuple):
    """What a later log goes on from, and how it was found."""

    continues: Continues
    report: Report | None
    """On the older log; None: only a checkpoint of it was at hand."""


def carry_over(
    old: LogName, *, reason: str, remember: bool = True, state_dir: str | Path | None = None
) -> Continues:
    """What a new log says of the older one that it goes on from: `create(…, continues=…)`.

    `old`: a log, which is verified whole: of one whose tail was lost, what is there is carried over. Or the
    file of a checkpoint of a log that earlier verifications remember in `state_dir`: then what it covers is.
    Raises VerdictError (the report is its evidence) for a log that is not sound, NotFoundError for a
    checkpoint of a log that is not remembered, and what `judge_log` and the checkpoint raise.
    """
    return find_carried_over(old, reason=reason, remember=remember, state_dir=state_dir).continues


def find_carried_over(
    old: LogName, *, reason: str, remember: bool = True, state_dir: str | Path | None = None
) -> CarriedOver:
    """`carry_over`, with the report that it rests on."""
    if Path(str(old)).is_file():
        folder = user_state_dir() if state_dir is None else Path(state_dir)
        return CarriedOver(_by_checkpoint(Path(str(old)), folder, reason), None)
    report = judge_log(old, remember=remember, state_dir=state_dir)
    if any(item.verdict not in _CARRIED for item in report.findings) or report.root is None:
        report.raise_for_verdict()
    if not report.size or report.root is None or report.origin is None or report.genesis_hash is None:
        raise CorruptError(f"{old} has no entries that can be carried over", path=str(old))
    continues = Continues(
        origin=report.origin, genesis=report.genesis_hash, size=report.size, root=report.root, reason=reason
    )
    return CarriedOver(continues, report)


def _by_checkpoint(path: Path, state_dir: Path, reason: str) -> Continues:
    """What a checkpoint covers, of a log whose keys and genesis hash are remembered."""
    note = read_given(path)
    origin = parse_checkpoint(parse_note(note).text).origin
    try:
        known = recall_all(state_dir, origin)
    except (UnreadableMemoryError, OSError) as error:
        raise CorruptError(
            f"what is remembered of {origin} cannot be read: {error}", path=str(path)
        ) from None
    if not known:
        raise NotFoundError(
            f"{path} is of {origin}, of which nothing is remembered: give the log itself", path=str(path)
        )
    memory = next(iter(signers_among(known, parse_note(note))), known[0])
    keys = [parse_vkey(vkey) for vkey in memory.checkpoint_keys]
    signed = open_signed_checkpoint(note, keys)
    check_every_type([line.key for line in signed.signatures], keys)
    size, root = signed.checkpoint.size, signed.checkpoint.root.hex()
    return Continues(origin=origin, genesis=memory.genesis_hash, size=size, root=root, reason=reason)


def judge_chain(log: LogName | LogSource, *, older: Iterable[LogName] = (), **options: Any) -> list[Report]:
    """Judge a log and the older logs that it continues, as far as they are at hand; the newest first.

    `older`: where older logs are; others are looked for where this user's configuration says. `options`: see
    `judge_log`; of `trust`, `trust_policy`, `held`, `tsa_roots` and `start` for the newest log alone: what
    vouches for an older one is the later one, which names its genesis hash. An older log must begin with what
    is continued, else that is a finding (`chain.…`) in its report; one that is not at hand is a notice
    (`chain.absent`) in the report of the log that continues it. Raises as `judge_log`.
    """
    places = list(older)
    reports = [judge_log(log, **options)]
    shared = {name: value for name, value in options.items() if name not in _OF_THE_NEWEST}
    while reports[-1].continues is not None and len(reports) < CHAIN_MAX:
        continues = msgspec.convert(reports[-1].continues, Continues)
        source = _at_hand(continues.genesis, places)
        if source is None:
            what = f"{continues.origin}, of which {continues.size} entries are continued, is not at hand"
            reports[-1].add(
                finding("chain.absent", what, 0, found=continues.genesis), options.get("on_finding")
            )
            break
        begins = Checkpoint(continues.origin, continues.size, bytes.fromhex(continues.root))
        reports.append(judge_log(source, trust=[continues.genesis], held=begins, **shared))
    return reports


_OF_THE_NEWEST: Final = frozenset({"trust", "trust_policy", "held", "tsa_roots", "start", "max_age_s"})


def _at_hand(genesis: str, places: Iterable[LogName]) -> LogSource | None:
    """The log that has this genesis entry, if one of these is it, or a configured one."""
    for place in (*places, *_configured(genesis)):
        with contextlib.suppress(AttestlogError, OSError):
            source = open_source(place)
            if identity(source).genesis == genesis:
                return source
    return None


def _configured(genesis: str) -> Iterator[str]:
    with contextlib.suppress(NoHomeError, AttestlogError):
        for config in configs():
            if config.genesis == genesis and config.path:
                yield config.path
