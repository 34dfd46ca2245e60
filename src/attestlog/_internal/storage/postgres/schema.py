"""The schema on the server, in numbered steps: what `attestlog postgres schema` prints."""

from __future__ import annotations

from importlib import resources
from typing import Final

VERSION: Final = 1
"""Of the last step: what a server must have at least."""

WRITER_ROLE: Final = "attestlog_writer"
READER_ROLE: Final = "attestlog_reader"


def step(number: int) -> str:
    """The statements of one step, to be run as one transaction."""
    return resources.files(__package__).joinpath(f"schema_{number:03}.sql").read_text(encoding="utf-8")


def steps(after: int = 0) -> str:
    """All steps after the first `after`, each in a transaction of its own."""
    wanted = range(after + 1, VERSION + 1)
    return "\n".join(f"begin;\n\n{step(number)}\ncommit;\n" for number in wanted)
