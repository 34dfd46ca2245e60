"""Verifying the logs of a service again and again, beside its work: `--verify-every`.

The first time, and once a day, all of a log; else what came since it was verified last. What is found goes
to `/metrics` and to the logger `attestlog.service`. A log that was not found right is verified whole until
it is: what is wrong may lie before what is new.

This is no audit: it runs on the machine that it watches. Somebody elsewhere runs `attestlog verify`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from attestlog._internal.core.report import Verdict
from attestlog._internal.server.served import ServedLog, Verified
from attestlog._internal.verifying import judge_log
from attestlog.errors import AttestlogError

logger: Final = logging.getLogger("attestlog.service")

WHOLE_EVERY_S: Final = 86_400.0
"""What was right may be changed later: once a day all is read."""

MEMORY: Final = "verified"
"""The folder in the service's directory: the log's own user remembers other verifications elsewhere."""

FINDINGS_TOLD: Final = 5


class Verifier:
    """Verifies logs in a thread of its own, from `start` to `stop`."""

    def __init__(self, logs: Sequence[ServedLog], directory: Path, every_s: float) -> None:
        self._logs, self._directory, self._every_s = logs, directory / MEMORY, every_s
        self._wholly: dict[str, float] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="attestlog-verify", daemon=True)

    def start(self) -> None:
        """Begin, with all logs at once."""
        self._thread.start()

    def stop(self) -> None:
        """Verify no further log; the one under way is not waited for: it writes nothing to the log."""
        self._stopping.set()

    def verify(self, served: ServedLog) -> Verified:
        """One log, now."""
        known, now = served.verified, time.time()
        is_due = now - self._wholly.get(served.origin, 0.0) >= WHOLE_EVERY_S
        is_right = known is not None and known.verdict is Verdict.VERIFIED
        found = self._judge(served, known.size if known is not None and is_right and not is_due else 0)
        if found.verdict is Verdict.VERIFIED and found.start == 0:
            self._wholly[served.origin] = now
        served.verified = found
        return found

    def _judge(self, served: ServedLog, start: int) -> Verified:
        try:
            report = judge_log(
                served.source.where, trust=served.log.vkeys, state_dir=self._directory, start=start
            )
        except AttestlogError as error:
            if start:  # what was remembered is gone
                return self._judge(served, 0)
            logger.warning("%s: cannot be verified: %s", served.origin, error)
            return Verified(Verdict.UNKNOWN, time.time(), 0, start)
        if report.verdict is not Verdict.VERIFIED:
            told = "; ".join(f"{item.code}: {item.message}" for item in report.findings[:FINDINGS_TOLD])
            logger.error("%s: %s: %s", served.origin, report.verdict, told)
        return Verified(report.verdict, time.time(), report.size, start)

    def _run(self) -> None:
        while not self._stopping.is_set():
            for served in self._logs:
                if self._stopping.is_set():
                    return
                try:
                    self.verify(served)
                except Exception:
                    # Its age in the metrics shows that none came out; the next one is tried.
                    logger.exception("%s: the verification failed", served.origin)
            self._stopping.wait(self._every_s)
