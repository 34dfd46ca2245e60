"""The version of this software, as entries and the command line state it."""

from typing import Final

VERSION: Final = "0.1.0"
