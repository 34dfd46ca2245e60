"""A process that acts under guard and is killed at one step of it. Run as a script.

    python acting.py LOG MARKER STEP

The act makes the file MARKER. See `stepping`. With a STEP beyond the last it goes through, and says `done`.
"""

import os
import signal
import sys
from pathlib import Path

from stepping import die_at  # type: ignore[import-not-found]  # run as a script, it stands beside

from attestlog._internal.log import Log


def main() -> None:
    path, marker, step = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    log = Log.open(path)
    die_at(step)
    with log.guard(action_type="deploy", actor_id="agent-7", action_payload={"n": step}) as act:
        os.write(1, b"acting\n")
        marker.touch()
        act.result = {"n": step}
    print("done", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
