"""`log` is here a log that the core alone made: 11 entries, laid out, to be forged."""

import pytest
from tests.support.logs import LogMaker


@pytest.fixture
def log(made: LogMaker) -> LogMaker:
    return made
