"""Writing a log: create it, open it, append to it, sign checkpoints of it.

`log` is what callers hold, `opening` makes and opens it, `turns` is what is
done inside the committer's turns, `signing` asks the keys and checks their
answers.
"""

from attestlog._internal.core.receipt import Receipt
from attestlog._internal.log.log import Log

__all__ = ["Log", "Receipt"]
