"""Bring the help blocks of docs/cli.md up to date: `python -m tests.support.help_blocks`."""

import contextlib
import io
import os
import re
from pathlib import Path

from attestlog._internal.cli import main

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
BLOCK = re.compile(r"^```text\n(Usage: (attestlog[^\[{\n]*?) *[\[{].*?)^```$", re.MULTILINE | re.DOTALL)
"""(the help, the command it is of) of each help block."""


def help_of(command: str) -> str:
    """What `COMMAND --help` prints at 80 columns."""
    os.environ["COLUMNS"] = "80"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main([*command.split()[1:], "--help"]) == 0
    return printed.getvalue()


if __name__ == "__main__":
    old = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(BLOCK.sub(lambda found: f"```text\n{help_of(found[2])}```", old), encoding="utf-8")
