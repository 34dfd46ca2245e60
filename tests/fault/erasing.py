"""A process that erases a payload and is killed at one step of it. Run as a script.

    python erasing.py LOG SEQUENCE_NUMBER STEP

See `stepping`. With a STEP beyond the last it erases whole, and says `erased`.
"""

import os
import signal
import sys

from stepping import die_at  # type: ignore[import-not-found]  # run as a script, it stands beside

from attestlog._internal.log import Log


def main() -> None:
    path, number, step = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    log = Log.open(path)
    die_at(step)
    log.erase(number, reason="asked for", actor_id="officer-1")
    print("erased", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
