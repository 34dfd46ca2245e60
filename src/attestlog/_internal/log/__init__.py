"""Writing a log: create it, open it, append to it, sign checkpoints of it.

`log` is what callers hold, and `opening` makes it. `drafts` prepares what they
give; `committer` is the queue in which they wait; `writer` is everything done
while holding the log's lock: read `Writer.commit` first. `keys` knows the rules
in force and who signs, `replicas` those who hold copies.
"""

from attestlog._internal.core.receipt import Receipt
from attestlog._internal.log.log import Log

__all__ = ["Log", "Receipt"]
