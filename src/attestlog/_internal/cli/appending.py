"""Appending for the command line: receipts for what the log accepts, usage errors for what it refuses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attestlog._internal.cli.drafts import REFUSALS, parse_chunk, read_chunks, refusal
from attestlog._internal.cli.output import Output, notice
from attestlog._internal.cli.verbs import UsageError
from attestlog._internal.core.entry import EntryDraft
from attestlog._internal.log import Log, Receipt


def append_one(out: Output, log: Log, draft: EntryDraft) -> None:
    """Append it and print its receipt."""
    try:
        receipt = log.append(draft)
    except REFUSALS as error:
        raise UsageError(str(error)) from None
    _print(out, [receipt])


def append_lines(out: Output, log: Log, source: str) -> None:
    """Append the drafts of a file, or of stdin for `-`, and print their receipts as they become durable."""
    appended = 0
    try:
        for chunk in read_chunks(source):
            parsed = parse_chunk(chunk)
            try:
                receipts = log.append_many(parsed)
            except REFUSALS as error:
                raise UsageError(refusal(error, log, chunk, parsed)) from None
            appended += len(receipts)
            _print(out, receipts)
    except BaseException:
        notice(f"{appended} entries were appended before this")
        raise


def _print(out: Output, receipts: Iterable[Receipt]) -> None:
    for receipt in receipts:
        if out.as_json:
            out.emit("receipt", describe_receipt(receipt))
        else:
            out.text(f"{receipt.sequence_number}  {receipt.entry_id}  {receipt.entry_hash}")
    out.flush()


def describe_receipt(receipt: Receipt) -> dict[str, Any]:
    """What a receipt says, for JSON."""
    return {
        name: getattr(receipt, name) for name in ("sequence_number", "entry_id", "entry_hash", "timestamp")
    }
