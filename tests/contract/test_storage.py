"""What every driver of the storage port promises (`storage.contract`), asked of each driver alike.

The checks are in `attestlog.testing`: who writes a driver can run them. A new driver adds a line to DRIVERS.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from attestlog._internal.storage.resolve import LogName
from attestlog.testing import SOURCE_CHECKS, STORE_CHECKS, check_one, memory_name

DRIVERS: dict[str, Callable[[pytest.FixtureRequest], LogName]] = {
    "files": lambda request: Path(request.getfixturevalue("tmp_path")) / "log",
    "memory": lambda _: memory_name(),
    "postgresql": lambda request: str(request.getfixturevalue("postgres").new_url(user="app")),
}


@pytest.mark.parametrize("check", [*SOURCE_CHECKS, *STORE_CHECKS])
@pytest.mark.parametrize("driver", DRIVERS)
def test_the_driver_keeps_the_contract(
    driver: str, check: str, request: pytest.FixtureRequest
) -> None:  # fmt: skip
    check_one(check, DRIVERS[driver](request))
