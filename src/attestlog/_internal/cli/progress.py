"""A progress bar for long work: on stderr, only where that is a terminal, only once it does take long."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_DELAY_S: Final = 0.5
"""Work that is done sooner shows no bar: it would only flicker."""


class Bar:
    """Call it with (done, in all); it is drawn inside `with` and leaves nothing behind."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._begun = time.monotonic()
        self._wanted = sys.stderr.isatty()
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self._progress is not None:
            self._progress.stop()

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` of `total` are done."""
        if not self._wanted or time.monotonic() - self._begun < _DELAY_S:
            return
        if self._progress is None:
            if done >= total:
                return
            from rich.console import Console
            from rich.progress import Progress

            self._progress = Progress(console=Console(stderr=True), transient=True)
            self._task = self._progress.add_task(self._title, total=total)
            self._progress.start()
        if self._task is not None:
            self._progress.update(self._task, completed=done, total=total)
