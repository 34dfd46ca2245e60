"""A log in another process, used as one that is open here: `attestlog.connect`. Needs no key of the log.

asking.py   questions to a service: what was surely not written, what may have been, and how it is settled
log.py      the log as callers see it
"""

from attestlog._internal.remote.log import RemoteLog, connect

__all__ = ["RemoteLog", "connect"]
