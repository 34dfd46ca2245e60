"""`attestlog serve`: logs of this machine, or a replica or witness for others', until it is interrupted."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from attestlog._internal.cli import options
from attestlog._internal.cli.opening import ask_passphrase
from attestlog._internal.cli.options import argument, flag, text
from attestlog._internal.cli.output import Output, notice
from attestlog._internal.cli.verbs import UsageError, example, new_group
from attestlog.errors import AttestlogError

if TYPE_CHECKING:
    from attestlog._internal.core.note import VerifierKey
    from attestlog._internal.replica import Replica
    from attestlog._internal.server.log import Service
    from attestlog._internal.witness import Witness

app = new_group("serve")

ListenOption = Annotated[str, text("Address to listen on.", "--listen", metavar="HOST:PORT")]
NameOption = Annotated[
    str | None, text("Its name in cosignatures; needed at the first start.", "--name", metavar="NAME")
]
TlsCertificateOption = Annotated[
    Path | None, text("Serve TLS with this certificate.", "--tls-certificate", metavar="FILE")
]
AccessLogOption = Annotated[bool, flag("Write a line of JSON for each request to stderr.", "--access-log")]
_Socket = Annotated[Path | None, text("Unix socket to listen on.", "--socket", metavar="PATH")]
_Http = Annotated[str | None, text("Address to listen on.", "--http", metavar="HOST:PORT")]
_SocketMode = Annotated[
    str, text("Who may connect to the socket, in octal; default: everybody.", metavar="MODE")
]
_VerifyEvery = Annotated[
    str | None, text("Verify the logs, again and again: 10m, 1h.", "--verify-every", metavar="TIME")
]
_PublicTiles = Annotated[
    bool, flag("Let everybody read checkpoint and tree, as C2SP tlog-tiles.", "--public-tiles")
]
_RecordReads = Annotated[
    bool, flag("Append who read entries: one entry a reader and hour.", "--record-reads")
]
TlsKeyOption = Annotated[Path | None, text("The certificate's private key.", "--tls-key", metavar="FILE")]


@app.command(
    epilog=example(
        "attestlog serve log audit --socket audit.sock",
        "attestlog serve log audit --http 127.0.0.1:8460 --directory service",
    )
)
def log(
    logs: Annotated[list[str], argument("LOG", "A log's directory; repeatable.")],
    *,
    socket: _Socket = None,
    http: _Http = None,
    directory: Annotated[
        Path | None,
        text("Directory for tokens and requests; default: in this user's state directory.", metavar="DIR"),
    ] = None,
    tls_certificate: TlsCertificateOption = None,
    tls_key: TlsKeyOption = None,
    free_mib: Annotated[
        int, text("Refuse acts while less is free on the log's disk.", "--free-mib", metavar="MIB")
    ] = 64,
    socket_mode: _SocketMode = "666",
    verify_every: _VerifyEvery = None,
    public_tiles: _PublicTiles = False,
    record_reads: _RecordReads = False,
    access_log: AccessLogOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Append to logs, and read them, for other processes, which need no key.

    Callers come over the socket, the address or both. At the address they need a token: see `attestlog
    tokens`. At the socket the kernel says which user they are: this user may do everything, others what
    `attestlog tokens add --user` says. Interrupted, the server ends what it is doing and signs a checkpoint.
    """
    from attestlog._internal.server import check_extra

    check_extra()
    from attestlog._internal.places import state_dir
    from attestlog._internal.server.running import parse_listen, serve

    if socket is None and http is None:
        raise UsageError("want --socket PATH, --http HOST:PORT, or both")
    listen = None
    if http is not None:
        listen = parse_listen(http, certificate=tls_certificate, key=tls_key)
    directory, mode = directory or state_dir() / "service", _mode(socket_mode)
    if access_log:
        log_accesses()
    with ExitStack() as undo:
        service = _open_service(
            logs, directory, undo, verify_every_s=_seconds(verify_every), tiles_are_public=public_tiles,
            records_reads=record_reads,
        )  # fmt: skip
        for served in service.logs:
            served.free_bytes_min = free_mib << 20
        out = Output(as_json)

        def started(url: str) -> None:
            told = {"url": url, "socket": None if socket is None else str(socket), "path": str(directory)}
            if out.as_json:
                out.emit("service", {**told, "logs": [served.origin for served in service.logs]})
            else:
                out.text(f"service    {url}")
                if socket is not None and listen is not None:
                    out.text(f"socket     {socket}")
                for served in service.logs:
                    out.text(f"log        {served.origin}")
            out.flush()

        serve(
            service.app, listen, started=started, stopping=service.stop, unix=socket,
            unix_mode=mode,
        )  # fmt: skip


def _seconds(text: str | None) -> float | None:
    """Raises UsageError."""
    from attestlog._internal.query.filter import parse_moment

    if text is None:
        return None
    try:
        now_us = 1 << 50
        age_us = now_us - parse_moment(text, now_us)
    except AttestlogError:
        age_us = 0
    if age_us < 1_000_000:
        raise UsageError("--verify-every wants a time such as 45s, 10m, 1h")
    return age_us / 1e6


def _mode(text: str) -> int:
    """Raises UsageError."""
    if re.fullmatch("[0-7]{3}", text) is None:
        raise UsageError(f"--socket-mode {text!r} is not three octal digits, such as 660")
    return int(text, 8)


def _open_service(logs: list[str], directory: Path, undo: ExitStack, **options: Any) -> Service:
    from functools import partial

    from attestlog._internal.log import Log
    from attestlog._internal.server.log import open_service

    service = open_service(
        [partial(Log.open, path, passphrase=ask_passphrase) for path in logs], directory, **options,
    )  # fmt: skip
    undo.callback(service.close)
    for served in service.logs:
        for what in [*served.log.recovered, *served.log.notices]:
            notice(what)
    return service


def log_accesses() -> None:
    """Requests to stderr, a line each."""
    import logging

    from attestlog._internal.server.access import logger

    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


@app.command(
    epilog=example(
        "attestlog serve replica copies --name replica.example.com/one --listen 127.0.0.1:8470",
        "attestlog tokens add copies writer --scope replicate --origin example.com/agents",
    )
)
def replica(
    directory: Annotated[Path, argument("DIR", "Directory for the copies.")],
    *,
    listen: ListenOption = "127.0.0.1:8470",
    name: NameOption = None,
    key: Annotated[
        str | None, text("Its Ed25519 key; at the first start, default: a new file.", metavar="URI")
    ] = None,
    tls_certificate: TlsCertificateOption = None,
    tls_key: TlsKeyOption = None,
    public_checkpoints: Annotated[
        bool, flag("Let everybody read cosigned checkpoints.", "--public-checkpoints")
    ] = False,
    access_log: AccessLogOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Hold verified copies of logs, and cosign their checkpoints.

    A replica takes entries from writers, verifies and stores them, and answers with a cosignature. Writers
    and readers need a token: see `attestlog tokens`. The first start needs --name, and makes a key file
    unless --key names a key.
    """
    from attestlog._internal.server import check_extra

    check_extra()
    from attestlog._internal.core.note import format_vkey
    from attestlog._internal.server.replica import replica_app
    from attestlog._internal.server.running import parse_listen, serve
    from attestlog._internal.server.tokens import TokenFile

    where = parse_listen(listen, certificate=tls_certificate, key=tls_key)
    if access_log:
        log_accesses()
    with ExitStack() as undo:
        opened = _open_replica(directory, name, key, undo)
        out, vkey = Output(as_json), format_vkey(opened.vkey)

        def started(url: str) -> None:
            if out.as_json:
                out.emit("replica", {"url": url, "vkey": vkey, "path": str(directory)})
            else:
                out.text(f"replica    {url}")
                out.text(f"vkey       {vkey}")
            out.flush()

        tokens = TokenFile(directory)
        if not tokens.tokens():
            notice(f"no token yet: attestlog tokens add {directory} NAME --scope replicate")
        serve(replica_app(opened, tokens, checkpoints_are_public=public_checkpoints), where, started=started)


@app.command(
    epilog=example(
        "attestlog serve witness cosigned --name witness.example.com/one --log VKEY --listen 127.0.0.1:8480"
    )
)
def witness(
    directory: Annotated[Path, argument("DIR", "Directory for the witness's state.")],
    *,
    listen: ListenOption = "127.0.0.1:8480",
    name: NameOption = None,
    key: Annotated[
        list[str] | None,
        text("A key that cosigns; at the first start, default: a new file; repeatable.", metavar="URI"),
    ] = None,
    log: Annotated[
        list[str] | None,
        text("Key of a log to cosign from now on; repeatable.", metavar="[ORIGIN ]VKEY"),
    ] = None,
    tls_certificate: TlsCertificateOption = None,
    tls_key: TlsKeyOption = None,
    access_log: AccessLogOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Cosign checkpoints that continue those cosigned before.

    A witness never cosigns two histories of one log. Any log can use it that speaks C2SP tlog-witness. The
    first start needs --name, and makes a key file unless --key names a key. A log that was added once stays
    known. A log's origin is the name in its key, unless ORIGIN and a space stand before the key.
    """
    from attestlog._internal.server import check_extra

    check_extra()
    from attestlog._internal.core.note import format_vkey
    from attestlog._internal.server.running import parse_listen, serve
    from attestlog._internal.server.tokens import TokenFile
    from attestlog._internal.server.witness import witness_app

    where = parse_listen(listen, certificate=tls_certificate, key=tls_key)
    if access_log:
        log_accesses()
    with ExitStack() as undo:
        opened = _open_witness(directory, name, key or [], log or [], undo)
        vkeys, logs = [format_vkey(item) for item in opened.keys], opened.state.origins()
        out = Output(as_json)
        if not logs:
            notice("no log is known yet: --log VKEY adds one")

        def started(url: str) -> None:
            if out.as_json:
                out.emit("witness", {"url": url, "vkeys": vkeys, "logs": logs, "path": str(directory)})
            else:
                out.text(f"witness    {url}")
                for vkey in vkeys:
                    out.text(f"vkey       {vkey}")
                for origin in logs:
                    out.text(f"log        {origin}")
            out.flush()

        serve(witness_app(opened, TokenFile(directory)), where, started=started)


def _open_replica(directory: Path, name: str | None, key: str | None, undo: ExitStack) -> Replica:
    """The replica in this directory; at the first start, a new one under `name`."""
    from attestlog._internal.core.signature import ED25519
    from attestlog._internal.replica import Replica
    from attestlog._internal.replica.settings import (
        SETTINGS_FILE,
        ReplicaSettings,
        read_settings,
        write_settings,
    )
    from attestlog._internal.signers.making import given_or_made, given_or_opened

    if not (directory / SETTINGS_FILE).exists():
        if name is None:
            raise UsageError(f"{directory} is not a replica yet: --name NAME makes one")
        made = given_or_made(key, origin=name, role="replica", algorithm=ED25519)
        signer = given_or_opened(made, ask_passphrase, undo)
        opened = Replica(directory, name, signer)
        write_settings(directory, ReplicaSettings(name=name, key=signer.uri))
    else:
        known = read_settings(directory)
        if name not in (None, known.name):
            raise UsageError(f"{directory} is the replica {known.name!r}, not {name!r}")
        opened = Replica(directory, known.name, given_or_opened(key or known.key, ask_passphrase, undo))
    undo.callback(opened.close)
    return opened


def _open_witness(
    directory: Path, name: str | None, keys: list[str], logs: list[str], undo: ExitStack
) -> Witness:
    """The witness in this directory, else a new one under `name`; it knows `logs` from now on."""
    from attestlog._internal.signers.making import given_or_opened
    from attestlog._internal.witness import Witness
    from attestlog._internal.witness.state import STATE_FILE, WitnessState

    known = [_parse_log(item) for item in logs]
    if not (directory / STATE_FILE).exists():
        return _make_witness(directory, name, keys, known, undo)
    state = undo.enter_context(WitnessState(directory))
    if name not in {None, state.name} or keys:
        raise UsageError(f"{directory} is the witness {state.name!r} already, with keys of its own")
    opened = Witness(state, [given_or_opened(uri, ask_passphrase, undo) for uri in state.keys.values()])
    for key, origin in known:
        opened.add_log(key, origin)
    return opened


def _parse_log(item: str) -> tuple[VerifierKey, str | None]:
    """Key and origin of "<origin> <vkey>", or of a vkey alone: no vkey holds a space."""
    from attestlog._internal.core.note import parse_vkey

    origin, _, vkey = item.rpartition(" ")
    return parse_vkey(vkey), origin or None


def _make_witness(
    directory: Path,
    name: str | None,
    keys: list[str],
    logs: list[tuple[VerifierKey, str | None]],
    undo: ExitStack,
) -> Witness:
    from attestlog._internal.core.note import check_key_name
    from attestlog._internal.core.signature import ED25519
    from attestlog._internal.signers.making import given_or_made, given_or_opened
    from attestlog._internal.witness import Witness
    from attestlog._internal.witness.witness import check_log_key

    if name is None:
        raise UsageError(f"{directory} is not a witness yet: --name NAME makes one")
    check_key_name(name)
    for key, origin in logs:
        check_log_key(name, key, origin)  # before a key is made
    uris: list[str] | list[None] = keys or [None]
    made = [given_or_made(uri, origin=name, role="witness", algorithm=ED25519) for uri in uris]
    begun = Witness.begin(directory, name, [given_or_opened(one, ask_passphrase, undo) for one in made])
    undo.callback(begun.state.close)
    for key, origin in logs:
        begun.add_log(key, origin)
    return begun
