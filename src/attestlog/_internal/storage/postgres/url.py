"""URLs of logs on PostgreSQL: which server, which log there, and what is asked of the connection.

    postgresql://USER@HOST1,HOST2/DATABASE?log=NAME[&durability=standby][&sslmode=…]

All but `log` and `durability` is libpq's, with two exceptions. A URL with a password in it is refused: it
would be in the argument vector, in histories and reports. And where libpq would go on without TLS, TLS with
the server's name verified is asked for, unless the server is on this machine or the URL says otherwise.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple, NoReturn
from urllib.parse import quote, unquote, urlencode, urlsplit

from attestlog.errors import MalformedConfigError

SCHEMES: Final = frozenset({"postgresql", "postgres"})
DURABILITIES: Final = ("server", "standby")

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_SECRET: Final = frozenset({"password", "sslpassword", "oauth_client_secret", "scram_client_key"})
_OURS: Final = frozenset({"log", "durability"})


class Url(NamedTuple):
    """A log's URL, taken apart. It holds no secret."""

    text: str
    """As messages call it, and as everything that asks for a log's name takes it."""
    conninfo: str
    """Of the database, for libpq."""
    log: str
    durability: str
    """`standby` where the URL asks for it; else what was asked for when the log was made."""

    @property
    def options(self) -> dict[str, str]:
        """What libpq is told beside `conninfo`."""
        return {} if _says_how(self.conninfo) or _is_local(self.conninfo) else {"sslmode": "verify-full"}


def parse_url(text: str, *, names_log: bool = True) -> Url:
    """Raises MalformedConfigError, which repeats nothing that may be a secret.

    `names_log` false: the URL is of the database, and any log in it is passed over.
    """
    parts = urlsplit(text)
    if parts.scheme.lower() not in SCHEMES or parts.fragment:
        _refuse("is not a URL of PostgreSQL")
    if parts.password is not None:
        _refuse("holds a password, want it in a password file or in PGPASSWORD")
    given: dict[str, str] = {}
    for name, value in _pairs(parts.query):
        if name in _SECRET:
            _refuse(f"holds a secret ({name}), want it in a password file, a service file or the environment")
        if name in given:
            _refuse(f"has {name} more than once")
        given[name] = value
    log, durability = given.get("log", ""), given.get("durability", DURABILITIES[0])
    if names_log and not _NAME.fullmatch(log):
        _refuse("names no log, want ?log=NAME of letters, digits, '.', '_' and '-'", "log")
    if durability not in DURABILITIES:
        _refuse(f"asks for a durability that is not {' or '.join(DURABILITIES)}", "durability")
    rest = {name: value for name, value in given.items() if name not in _OURS}
    base = f"postgresql://{parts.netloc}{parts.path}"
    ours = {"log": log} | ({"durability": durability} if "durability" in given else {})
    # Quoted as a URL is, not as a form: libpq takes a plus sign as it stands.
    whole = urlencode(rest | ours, quote_via=quote, safe="/:,@")
    asked = urlencode(rest, quote_via=quote, safe="/:,@")
    return Url(f"{base}?{whole}", f"{base}?{asked}" if asked else base, log, durability)


def _refuse(why: str, member: str = "log") -> NoReturn:
    raise MalformedConfigError(f"the log's URL {why}", member=member)


def _pairs(query: str) -> Iterator[tuple[str, str]]:
    """As libpq reads them: a plus sign is one."""
    for pair in filter(None, query.split("&")):
        name, _, value = pair.partition("=")
        yield unquote(name), unquote(value)


def _asked(conninfo: str) -> Mapping[str, str]:
    return dict(_pairs(urlsplit(conninfo).query))


def _says_how(conninfo: str) -> bool:
    return "sslmode" in _asked(conninfo)


def _is_local(conninfo: str) -> bool:
    """Whether every host is this machine, as far as the names tell."""
    asked = _asked(conninfo)
    if "service" in asked or "PGSERVICE" in os.environ:
        return False
    named = urlsplit(conninfo).netloc.rpartition("@")[2]
    hosts = asked.get("hostaddr") or os.environ.get("PGHOSTADDR") or asked.get("host")
    hosts = hosts or ",".join(map(_host, named.split(","))) or os.environ.get("PGHOST", "")
    return all(map(_is_loopback, hosts.split(",")))


def _host(named: str) -> str:
    """Without its port, decoded."""
    if named.startswith("["):
        return named[1:].partition("]")[0]
    return unquote(named.partition(":")[0])


def _is_loopback(host: str) -> bool:
    if not host or host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
