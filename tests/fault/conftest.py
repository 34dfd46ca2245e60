"""Prints how much was injected."""

import pytest
from tests.support.tally import counts


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if counts:
        terminalreporter.section("faults injected, none of them lost or invented an entry")
        for what, count in sorted(counts.items()):
            terminalreporter.write_line(f"{count:>9,}  {what}")
