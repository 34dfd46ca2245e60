"""The schema on the server, in numbered steps: what `attestlog postgres schema` prints.

A step only adds, or replaces a function by one that takes and does what the older did: writers one version
older go on while it is made, and afterwards.
"""

from __future__ import annotations

from importlib import resources
from typing import Final

VERSION: Final = 1
"""Of the last step: what a server must have at least."""

WRITER_ROLE: Final = "attestlog_writer"
READER_ROLE: Final = "attestlog_reader"

_LATER: Final = """do $$ declare found int := (select version from attestlog.meta for update); begin
  if found <> {before} then
    raise exception 'step {number} of the schema comes after step {before}, this is %', found;
  end if;
end $$;

{text}
grant select on all tables in schema attestlog to attestlog_reader, attestlog_writer;
revoke all on all functions in schema attestlog from public;
grant execute on all functions in schema attestlog to attestlog_writer;
update attestlog.meta set version = {number};
"""
"""Around every step but the first."""


def step(number: int) -> str:
    """The statements of one step, to be run as one transaction."""
    text = _file(number)
    return text if number == 1 else _LATER.format(number=number, before=number - 1, text=text)


def steps(after: int = 0) -> str:
    """All steps after the first `after`, each in a transaction of its own."""
    wanted = range(after + 1, VERSION + 1)
    return "\n".join(f"begin;\n\n{step(number)}\ncommit;\n" for number in wanted)


def _file(number: int) -> str:
    return resources.files(__package__).joinpath(f"schema_{number:03}.sql").read_text(encoding="utf-8")
