"""A replica: a full, independent copy of logs, under its own key, at another operator's.

It verifies every entry, signature, link and checkpoint before it stores, and
answers with a C2SP cosignature over what it holds. A history that contradicts
what it holds is refused and kept as evidence; nothing makes it forget. What it
holds of a log is a log directory like the writer's: the verifier, the queries
and the export work on it as they are.

`checking` verifies what comes, `holding` keeps one log, `evidence` keeps what
contradicted it, `replica` is all of it. It knows no HTTP.
"""

from attestlog._internal.replica.replica import Replica

__all__ = ["Replica"]
"""The room's one name for others."""
