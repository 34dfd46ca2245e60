"""What a test opens in passing is closed after it, so that what is left open is a fault of the product."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest


@contextmanager
def closed_at_the_end(*kinds: Any) -> Iterator[None]:
    """Everything of these classes that is made within is closed at the end, perhaps for the second time."""
    with ExitStack() as undo, pytest.MonkeyPatch.context() as patch:
        for kind in kinds:
            patch.setattr(kind, "__init__", _remembered(kind.__init__, undo))
        yield


def _remembered(original: Any, undo: ExitStack) -> Any:
    def made(self: Any, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **options)
        undo.callback(self.close)

    return made
