"""Moments to come, as options give them."""

from __future__ import annotations

from attestlog._internal.cli.verbs import UsageError
from attestlog.errors import QueryError


def parse_expiry(text: str, now_us: int) -> int:
    """Microseconds since 1970: so long after now (`12h`, `7d`), or a moment in RFC 3339.

    Raises UsageError unless it is one, and to come.
    """
    from attestlog._internal.query.filter import parse_moment

    try:
        moment_us = parse_moment(text, now_us)
    except QueryError as error:
        raise UsageError(str(error)) from None
    if "-" not in text:  # a duration, which filters count backwards
        moment_us = 2 * now_us - moment_us
    if moment_us <= now_us:
        raise UsageError(f"{text!r} is over already")
    return moment_us
