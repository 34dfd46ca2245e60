"""How fast, against what the machine itself can do: `python -m bench` (see `docs/performance.md`)."""
