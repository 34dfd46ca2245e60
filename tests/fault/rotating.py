"""A process that rotates a log's key and is killed at one step of it. Run as a script.

    python rotating.py LOG NEW_KEY_FILE STEP

See `stepping`. With a STEP beyond the last it rotates whole, and says `rotated`.
"""

import os
import signal
import sys

from stepping import die_at  # type: ignore[import-not-found]  # run as a script, it stands beside

from attestlog._internal.log import Log


def main() -> None:
    path, new, step = sys.argv[1], sys.argv[2], int(sys.argv[3])
    log = Log.open(path)
    die_at(step)
    log.rotate_key(f"file:{new}")
    print("rotated", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
