"""What was injected, counted: printed at the end of a run, quoted in docs/reliability.md."""

from collections import Counter

counts: Counter[str] = Counter()


def tally(what: str, count: int = 1) -> None:
    counts[what] += count
