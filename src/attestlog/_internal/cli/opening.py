"""Opening a log for writing as every verb does it, and its index for reading; asking for passphrases."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from attestlog._internal.cli.output import Bar, notice
from attestlog.errors import AttestlogError, SignerError, WrongKeyError

if TYPE_CHECKING:
    from attestlog._internal.log import Log


@contextmanager
def open_log(
    path: str,
    *,
    signer: str | None = None,
    checkpoint_signer: str | None = None,
    any_filesystem: bool = False,
) -> Iterator[Log]:
    """The log, open for writing. What opening or committing set aside is printed on stderr.

    A SignerError knows the log, unless the key that cannot be opened was given here.
    """
    from attestlog._internal.log import Log

    try:
        log = Log.open(
            path, signer=signer, checkpoint_signer=checkpoint_signer, passphrase=ask_passphrase,
            any_filesystem=any_filesystem,
        )  # fmt: skip
    except SignerError as error:
        if isinstance(error, WrongKeyError) or (signer is None and checkpoint_signer is None):
            raise error.with_evidence(log=path) from error
        raise
    try:
        yield log
    except BaseException:
        # The first error is the one to report, not that of closing after it.
        with suppress(AttestlogError):
            log.close()
        raise
    finally:
        for what in log.recovered:
            notice(f"recovered: {what}")
        for what in log.notices:
            notice(what)
    close_log(log)


def close_log(log: Log) -> None:
    """Close. The evidence of an error has `closing`: what was appended before is stored all the same."""
    try:
        log.close()
    except AttestlogError as error:
        message = f"the log could not be closed in order: {error.message}"
        raise error.with_evidence(message, closing=True) from error


def catch_up(log: str) -> None:
    """Bring the query index up to the log. An index that cannot be stored is made by the query itself."""
    from attestlog._internal.query import Index, IndexPlace

    with Index.open(log) as index, Bar("indexing") as bar:
        if index.place != IndexPlace.MEMORY:
            index.catch_up(bar)


def ask_passphrase(what: str) -> bytes | None:
    """A key file's passphrase or a token's PIN; never echoed. None where there is no terminal to ask on."""
    return ask_secret(f"passphrase or PIN for {what}: ")


def ask_secret(prompt: str) -> bytes | None:
    """The line typed on the terminal, even when stdin is a pipe; None if there is no terminal or no line."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return None
    from getpass import getpass

    try:
        return getpass(prompt).encode()
    except EOFError:
        return None
