"""Opening a log for writing, as every verb does it: passphrases asked for, recovery reported, receipts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from attestlog.cli.output import notice

if TYPE_CHECKING:
    from attestlog.log import Log, Receipt


@contextmanager
def open_log(
    path: str,
    *,
    signer: str | None = None,
    checkpoint_signer: str | None = None,
    any_filesystem: bool = False,
) -> Iterator[Log]:
    """The log, open for writing; what opening or committing set aside is said on stderr."""
    from attestlog.log import Log

    with Log.open(
        path, signer=signer, checkpoint_signer=checkpoint_signer, passphrase=ask_passphrase,
        any_filesystem=any_filesystem,
    ) as log:  # fmt: skip
        try:
            yield log
        finally:
            for what in log.recovered:
                notice(f"recovered: {what}")


def describe_receipt(receipt: Receipt) -> dict[str, Any]:
    """What a receipt says, for JSON."""
    return {
        name: getattr(receipt, name) for name in ("sequence_number", "entry_id", "entry_hash", "timestamp")
    }


def ask_passphrase(path: str) -> bytes | None:
    """Asked on the terminal, never echoed; None where there is no terminal to ask on."""
    return ask_secret(f"passphrase for {path}: ")


def ask_secret(prompt: str) -> bytes | None:
    """What is typed on the terminal, even when stdin is a pipe; None without a terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return None
    from getpass import getpass

    return getpass(prompt).encode()
