"""`pkcs11:` URIs (RFC 7512): which library, which token, which key. Text in, a `KeyUri` out.

    pkcs11:token=attest;object=log-entries?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/pin

Not all of RFC 7512: an attribute that cannot be honoured here is refused, because to ignore it would
open another key than the one that was meant. `pin-value` is refused because a URI is no place for a secret.
Two attributes are our own: `public-key` (a file, where the token has none) and `timeout-s`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes

from attestlog.errors import MalformedConfigError

SCHEME: Final = "pkcs11"
PATH_ATTRIBUTES: Final = ("token", "manufacturer", "serial", "model", "object", "id", "type")
QUERY_ATTRIBUTES: Final = ("module-path", "pin-source", "public-key", "timeout-s")

TIMEOUT_S: Final = 10.0
"""A network device that has not answered by then is down, and callers have waited long enough."""
TIMEOUT_MAX_S: Final = 25.0
"""Shorter than others wait for the log's lock (30 s), which is held while a signature is made."""

_PCT: Final = "%[0-9A-Fa-f]{2}"
_PATH_VALUE: Final = re.compile(rf"(?:[A-Za-z0-9._~:\[\]@!$'()*+,=&-]|{_PCT})+")
_QUERY_VALUE: Final = re.compile(rf"(?:[A-Za-z0-9._~:\[\]@!$'()*+,=/?|-]|{_PCT})+")
_NUMBER: Final = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,3})?")


@dataclass(frozen=True, slots=True)
class KeyUri:
    """A parsed URI: what a token and a key must be called (None: anything), and how to reach them."""

    token: str | None = None
    manufacturer: str | None = None
    serial: str | None = None
    model: str | None = None
    object: str | None = None
    id: bytes | None = None
    module_path: str | None = None
    pin_source: str | None = None
    public_key: str | None = None
    timeout_s: float = TIMEOUT_S


def parse_key_uri(uri: str) -> KeyUri:
    """The parts of a `pkcs11:` URI, its attributes in any order. Raises MalformedConfigError.

    No message repeats a value: it may hold what somebody took for the place of a PIN.
    """
    scheme, colon, rest = uri.partition(":")
    if scheme != SCHEME or not colon:
        raise _malformed("does not begin with pkcs11:")
    path, _, query = rest.partition("?")
    found = _attributes(path, ";", PATH_ATTRIBUTES, _PATH_VALUE)
    found |= _attributes(query, "&", QUERY_ATTRIBUTES, _QUERY_VALUE)
    if found.pop("type", b"private") != b"private":
        raise _malformed("has a type other than private")
    key_id = found.pop("id", None)
    timeout = found.pop("timeout-s", None)
    try:
        texts = {name.replace("-", "_"): value.decode() for name, value in found.items()}
    except UnicodeDecodeError:
        raise _malformed("has an attribute that is not UTF-8") from None
    for name in ("module_path", "public_key"):
        if not texts.get(name, "/").startswith("/"):
            raise _malformed(f"has a {name.replace('_', '-')} that is no absolute path")
    return KeyUri(**texts, id=key_id, timeout_s=TIMEOUT_S if timeout is None else _timeout(timeout))


def format_key_uri(uri: KeyUri) -> str:
    """The one spelling of it, attributes in a fixed order."""
    path = [
        f"{name}={quote(value, safe='')}"
        for name in ("token", "manufacturer", "serial", "model", "object")
        if (value := getattr(uri, name)) is not None
    ]
    if uri.id is not None:
        path.append("id=" + "".join(f"%{byte:02x}" for byte in uri.id))
    query = [
        f"{name}={quote_from_bytes(value.encode(), safe='/:')}"
        for name in ("module-path", "pin-source", "public-key")
        if (value := getattr(uri, name.replace("-", "_"))) is not None
    ]
    if uri.timeout_s != TIMEOUT_S:
        query.append(f"timeout-s={uri.timeout_s:g}")
    return f"{SCHEME}:{';'.join(path)}" + (f"?{'&'.join(query)}" if query else "")


def _attributes(
    text: str, separator: str, known: tuple[str, ...], value_form: re.Pattern[str]
) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for item in text.split(separator) if text else ():
        name, equals, value = item.partition("=")
        if name == "pin-value":
            raise _malformed("holds pin-value: a secret has no place in a URI")
        if name not in known:
            shown = name if equals and re.fullmatch("[A-Za-z0-9_-]{1,40}", name) else "none"
            raise _malformed(f"has an attribute that is not supported ({shown}), want {', '.join(known)}")
        if name in found:
            raise _malformed(f"has {name} twice")
        if not value_form.fullmatch(value):
            raise _malformed(f"has a value of {name} that is empty or not percent-encoded")
        found[name] = unquote_to_bytes(value)
    return found


def _timeout(text: bytes) -> float:
    match = _NUMBER.fullmatch(text.decode("ascii", "replace"))
    seconds = float(match[0]) if match else 0.0
    if not 0 < seconds <= TIMEOUT_MAX_S:
        raise _malformed(f"has a timeout-s that is not above 0 and at most {TIMEOUT_MAX_S:g}")
    return seconds


def _malformed(what: str) -> MalformedConfigError:
    return MalformedConfigError(f"signer 'pkcs11:…' {what}", member="signer")


def matches(uri: KeyUri, token: Mapping[str, str]) -> bool:
    """Whether a token with these texts (`token` its label, `manufacturer`, `serial`, `model`) is meant."""
    return all(
        wanted is None or token[name] == wanted
        for name, wanted in (
            ("token", uri.token), ("manufacturer", uri.manufacturer), ("serial", uri.serial),
            ("model", uri.model),
        )
    )  # fmt: skip
