"""Which sink a URI names.

    otlp+https://HOST[:PORT][/PATH]     OpenTelemetry, path /v1/logs if none is given
    webhook+https://HOST[:PORT]/PATH    signed bodies
    syslog+tls://HOST[:PORT][?size=N]   RFC 5424 over TLS; N: the longest message it takes
    file:PATH                           one record a line

`http` in place of `https` is for this machine only. A webhook's path may be its secret: a sink is called by
its host alone, unless it is given a name.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import SplitResult, parse_qs, urlsplit

import certifi

from attestlog._internal.net import parse_url, read_token, trusting
from attestlog._internal.shipping.contract import Sink
from attestlog._internal.shipping.file import LINES, FileSink
from attestlog._internal.shipping.http import BODIES, OtlpSink, WebhookSink, parse_secret
from attestlog._internal.shipping.syslog import PORT, SIZE_MAX_BYTES, SyslogSink
from attestlog.errors import MalformedConfigError

KINDS: Final = ("otlp+https:", "webhook+https:", "syslog+tls:", "file:")
"""How a URI of a sink begins."""

SYSLOG_SIZE_MIN_BYTES: Final = 2_048
"""What every receiver MUST take (RFC 5425, section 4.3.1); a summary fits."""

_DEFAULT_PATH: Final = "/v1/logs"


class SinkOptions(NamedTuple):
    """What a sink needs beside its URI. Files are paths; None: not given."""

    form: str | None = None
    name: str | None = None
    token_file: str | None = None
    secret_file: str | None = None
    ca_file: str | None = None
    client_certificate: str | None = None
    """PEM, with its key: for a syslog server that asks for one."""


def open_sink(uri: str, options: SinkOptions) -> Sink:
    """Raises MalformedConfigError for a URI that names no sink, and for options that do not go with it."""
    kind, _, rest = uri.partition(":")
    if kind == "file":
        return _file(rest, options)
    if kind == "syslog+tls":
        return _syslog(uri, options)
    sort, _, scheme = kind.partition("+")
    if sort not in {"otlp", "webhook"} or scheme not in {"https", "http"}:
        # Only the scheme is repeated: the rest may hold a secret.
        raise MalformedConfigError(f"no sink is called {kind}:, want one of {', '.join(KINDS)}", member="to")
    url = parse_url(f"{scheme}:{rest}", what="the sink's URL", member="to", is_base=False)
    name = options.name or f"{kind}://{url.netloc}"
    headers = {}
    if options.token_file is not None:
        headers["authorization"] = f"Bearer {read_token(options.token_file)}"
    return (_otlp if sort == "otlp" else _webhook)(name, url, headers, options)


def _otlp(name: str, url: SplitResult, headers: dict[str, str], options: SinkOptions) -> Sink:
    _refuse("an OTLP sink", secret=options.secret_file, client_certificate=options.client_certificate)
    _form(options, ("otlp",))
    if url.path in {"", "/"}:
        url = url._replace(path=_DEFAULT_PATH)
    return OtlpSink(name, url, headers, options.ca_file)


def _webhook(name: str, url: SplitResult, headers: dict[str, str], options: SinkOptions) -> Sink:
    _refuse("a webhook", client_certificate=options.client_certificate)
    if options.secret_file is None:
        raise MalformedConfigError("a webhook needs a secret: its bodies are signed", member="secret")
    secret = parse_secret(read_token(options.secret_file, member="secret"))
    form = _form(options, tuple(BODIES))
    return WebhookSink(name, url, headers, options.ca_file, form=form, secret=secret)


def _syslog(uri: str, options: SinkOptions) -> Sink:
    _refuse("a syslog sink", secret=options.secret_file, token_file=options.token_file)
    _form(options, ("syslog",))
    parts = urlsplit(uri)
    try:
        host, port, asked = parts.hostname, parts.port or PORT, parse_qs(parts.query)
        size_max = int(asked.pop("size", [str(SIZE_MAX_BYTES)])[0])
    except ValueError:
        host, port, asked, size_max = None, 0, {}, 0
    if not host or asked or parts.path not in {"", "/"} or size_max < SYSLOG_SIZE_MIN_BYTES:
        want = f"want syslog+tls://HOST[:PORT][?size=N], N at least {SYSLOG_SIZE_MIN_BYTES}"
        raise MalformedConfigError(f"the sink's URL is not that of a syslog server, {want}", member="to")
    name = options.name or f"syslog+tls://{host}:{port}"
    return SyslogSink(name, host, port, _tls(options), size_max=size_max)


def _tls(options: SinkOptions) -> ssl.SSLContext:
    context = trusting(options.ca_file or certifi.where())
    if options.client_certificate is not None:
        try:
            context.load_cert_chain(options.client_certificate)
        except (OSError, ssl.SSLError) as error:
            what = f"client certificate {options.client_certificate!r} cannot be used: {error}"
            raise MalformedConfigError(what, member="client_certificate") from None
    return context


def _file(path: str, options: SinkOptions) -> Sink:
    _refuse(
        "a file", secret=options.secret_file, token_file=options.token_file, ca_file=options.ca_file,
        client_certificate=options.client_certificate,
    )  # fmt: skip
    if not path:
        raise MalformedConfigError("file: names no path", member="to")
    return FileSink(Path(path.removeprefix("//")).absolute(), _form(options, tuple(LINES)))


def _form(options: SinkOptions, known: tuple[str, ...]) -> str:
    """The form that is asked for, else the first one."""
    if options.form is not None and options.form not in known:
        what = f"this sink takes {' or '.join(known)}, not {options.form}"
        raise MalformedConfigError(what, member="form")
    return options.form or known[0]


def _refuse(what: str, **given: str | None) -> None:
    for name, value in given.items():
        if value is not None:
            raise MalformedConfigError(f"{what} has no {name.replace('_', ' ')}", member=name)
