"""Entry ids: UUID v4, drawn many at once.

A system call for each would let go of the interpreter's lock each time, which
costs callers in many threads more than the rest of what they do.
"""

from __future__ import annotations

import os
from collections import deque
from typing import Final

_DRAWN: Final = 256
"""Ids drawn at a time: 4 KiB of randomness."""

_waiting: Final[deque[str]] = deque()
# A forked child must not hand out its parent's ids.
os.register_at_fork(after_in_child=_waiting.clear)


def new_entry_id() -> str:
    """A UUID v4, lower case. Safe from any thread."""
    while True:
        try:
            return _waiting.popleft()
        except IndexError:
            digits = os.urandom(16 * _DRAWN).hex()
            _waiting.extend(_uuid4(digits[at : at + 32]) for at in range(0, len(digits), 32))


def _uuid4(digits: str) -> str:
    """32 random hex digits with version and variant put in (RFC 9562 section 5.4)."""
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
