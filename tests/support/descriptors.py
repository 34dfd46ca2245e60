"""What this process holds open below a folder: of the test's own, and not of what other tests left behind.

Counting all descriptors of the process is no measure: what an earlier test dropped is closed whenever the
interpreter collects garbage, in the middle of another test, too.
"""

from pathlib import Path


def open_below(*folders: Path) -> list[str]:
    """The paths of what is open: `folders` and all below them, in order; what was removed, too."""
    below = tuple(f"{folder.resolve()}{end}" for folder in folders for end in ("/", " "))
    targets = map(_target, Path("/proc/self/fd").iterdir())
    return sorted(target for target in targets if f"{target} ".startswith(below))


def _target(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except FileNotFoundError:  # the one that lists them, or another thread's
        return ""
