"""A short run over three segments, going on after errors as a careful caller would. Run as a script.

    python system_calls_writer.py LOG

Prints `try NAME` before it asks; then `ack SEQUENCE HASH NAME`, or `refused NAME` where the error says
that nothing was written, or `unknown NAME`.
"""

import contextlib
import os
import sys

from attestlog._internal.log import Log
from attestlog.errors import AttestlogError, UncertainCommitError


def say(line: str) -> None:
    # What cannot be said was not promised.
    with contextlib.suppress(OSError):
        os.write(1, line.encode() + b"\n")


def main(path: str) -> None:
    log = Log.open(path)
    for number in range(9):
        name = f"w.{number}"
        say(f"try {name}")
        try:
            receipt = log.append(
                event_type="ACTION", action_type="a", actor_id="agent-1", action_payload={"name": name}
            )
        except UncertainCommitError:
            say(f"unknown {name}")
            with contextlib.suppress(AttestlogError):
                log.close()
            log = Log.open(path)
        except AttestlogError:
            say(f"refused {name}")
        else:
            say(f"ack {receipt.sequence_number} {receipt.entry_hash} {name}")
        if number == 5:
            with contextlib.suppress(AttestlogError):
                log.checkpoint()
    log.close()


if __name__ == "__main__":
    main(sys.argv[1])
