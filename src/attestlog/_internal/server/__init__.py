"""HTTP: the one room that knows requests and status codes. What is decided, is decided in other rooms.

`tokens` says who may do what, `bodies` reads what is sent within limits, `running` puts an app on a
socket and drops who is too slow, `statuses` gives each error its status. Needs the extra `server`, but for
`loopback`, which is the explorer for one person.
"""

from importlib.util import find_spec

from attestlog.errors import MissingExtraError


def check_extra() -> None:
    """Raises MissingExtraError unless what an app and its socket need is installed."""
    for name in ("litestar", "uvicorn"):
        if find_spec(name) is None:
            raise MissingExtraError(
                "a server needs the extra 'server', which is not installed", extra="server"
            )
