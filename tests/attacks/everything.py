"""Every attempt of the kit: importing this registers them all."""

from tests.attacks import (
    appender,
    approver,
    key_holder,
    outsider,
    readers_host,
    replica,
    retired_key,
    witness,
)
from tests.attacks.kit import ATTEMPTS

__all__ = ["ATTEMPTS", "BY_WHOM"]

BY_WHOM = (outsider, appender, approver, retired_key, key_holder, replica, witness, readers_host)
