"""The minimal log format: verifying it as it is, and bringing it into a log.

judge.py      the rules, line by line; pure
verify.py     a file, streamed
importing.py  a file into a log, and out again
"""

from attestlog._internal.legacy.importing import ImportReceipt, export_legacy_lines, import_legacy
from attestlog._internal.legacy.verify import is_legacy, judge_legacy

__all__ = ["ImportReceipt", "export_legacy_lines", "import_legacy", "is_legacy", "judge_legacy"]
