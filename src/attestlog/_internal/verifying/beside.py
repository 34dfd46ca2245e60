"""What stands beside the entries and must agree with them: segment names, log.toml, the checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from attestlog._internal.config import parse_config
from attestlog._internal.core.checkpoint import Checkpoint
from attestlog._internal.core.cosignature import check_every_type, open_signed_checkpoint
from attestlog._internal.core.genesis import Genesis
from attestlog._internal.core.note import format_vkey
from attestlog._internal.core.report import Finding
from attestlog._internal.judging.findings import finding
from attestlog._internal.judging.source import Segment, Snapshot
from attestlog._internal.storage.files import layout
from attestlog._internal.storage.files.layout import CONFIG_FILE
from attestlog.errors import (
    MalformedCheckpointError,
    MalformedConfigError,
    MalformedNoteError,
    MissingExtraError,
    SignatureInvalidError,
    TrustError,
)


class Segments(NamedTuple):
    """The segment files to read, and the first numbers of those before which one is missing."""

    present: list[Segment]
    gaps: set[int]


def check_segments(snapshot: Snapshot, segment_entries: int, findings: list[Finding]) -> Segments:
    """Which files are the log's segments; `findings` receives what is missing or has no place."""
    strays = list(snapshot.strays)
    present: list[Segment] = []
    gaps: set[int] = set()
    for segment in snapshot.segments:
        if segment.first % segment_entries:
            strays.append(layout.segment_name(segment.first))
            continue
        due = present[-1].first + segment_entries if present else 0
        if segment.first != due:
            gaps.add(segment.first)
            name, last = layout.segment_name(due), layout.segment_name(segment.first - segment_entries)
            what = f"{name} is missing" if name == last else f"{name} to {last} are missing"
            findings.append(finding("segment.missing", what, due, expected=due, found=segment.first))
        present.append(segment)
    what = "{} is not one of this log's segments"
    findings.extend(finding("segment.stray", what.format(name), found=name) for name in strays)
    return Segments(present, gaps)


def check_config(data: bytes | None, genesis: Genesis) -> Iterator[Finding]:
    """Findings where log.toml is not what the genesis entry says. None: there is no log.toml."""
    if data is None:
        yield finding("config.missing", f"{CONFIG_FILE} is missing")
        return
    try:
        config = parse_config(data.decode("utf-8"))
    except (MalformedConfigError, UnicodeDecodeError) as error:
        yield finding("config.malformed", str(error))
        return
    if config.origin != genesis.origin:
        what = f"{CONFIG_FILE} names another origin than the genesis entry"
        yield finding("config.origin", what, expected=genesis.origin, found=config.origin)
    if config.settings != genesis.settings:
        expected, found = msgspec.to_builtins(genesis.settings), msgspec.to_builtins(config.settings)
        what = f"{CONFIG_FILE} has other settings than the genesis entry"
        yield finding("config.settings", what, expected=expected, found=found)


class SignedCheckpoint(NamedTuple):
    """A checkpoint that one of the log's checkpoint keys signed."""

    checkpoint: Checkpoint
    text: str
    """The note, as it is."""
    signers: list[str]
    """vkeys of those that signed."""


def check_checkpoint(
    data: bytes | None, genesis: Genesis, findings: list[Finding]
) -> SignedCheckpoint | None:
    """The checkpoint, if the log's key signed it; else `findings` receives why not."""
    if data is None:
        findings.append(finding("checkpoint.missing", "the log has no checkpoint"))
        return None
    try:
        signed = open_signed_checkpoint(data, genesis.checkpoint_keys)
        check_every_type([line.key for line in signed.signatures], genesis.checkpoint_keys)
    except (SignatureInvalidError, TrustError) as error:
        what = f"checkpoint: {error}"
        findings.append(finding("checkpoint.signature", what, expected=error.expected, found=error.found))
        return None
    except (MalformedNoteError, MalformedCheckpointError) as error:
        findings.append(finding("checkpoint.malformed", f"checkpoint: {error}"))
        return None
    except MissingExtraError as error:
        findings.append(finding("checkpoint.unsupported", f"checkpoint: {error}"))
        return None
    checkpoint = signed.checkpoint
    if checkpoint.origin != genesis.origin:
        what = "the checkpoint is of another origin"
        findings.append(finding("checkpoint.origin", what, expected=genesis.origin, found=checkpoint.origin))
        return None
    signers = [format_vkey(line.key) for line in signed.signatures]
    return SignedCheckpoint(checkpoint, data.decode(), signers)
