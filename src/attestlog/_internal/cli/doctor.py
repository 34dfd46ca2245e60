"""`attestlog doctor`: whether a log can be kept on this machine, at what cost, and how well a key is kept.

Each check measures or reads one thing, and says whether it is good for a log.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from attestlog._internal.cli import exits, options
from attestlog._internal.cli.opening import ask_passphrase
from attestlog._internal.cli.output import Output
from attestlog._internal.cli.verbs import example, new_app
from attestlog._internal.version import VERSION
from attestlog.errors import AttestlogError, FilesystemError

if TYPE_CHECKING:
    from attestlog._internal.signers import Signer

app = new_app()

_ON_POSTGRES = "opening the log checks the server's version, schema, fsync and standbys"

_STYLES: Final = {"good": "green", "note": "yellow", "bad": "bold red"}

SYNCS_MAX: Final = 64
SYNC_TIME_S: Final = 1.0
"""How often, and for how long at most, a small write is made durable to see what that costs."""

FREE_SPACE_LOW_BYTES: Final = 1 << 30
"""Room for about half a million entries."""

SLOW_SYNC_S: Final = 0.02
"""A spinning disk's cost; slower is something else, such as a busy or a remote disk."""

_EARLIEST_YEAR: Final = 2025
"""This software is not older: an earlier date means a clock that was never set."""

_TIMEX_SIZE_BYTES: Final = 512
"""More than any kernel's `struct timex`; all zero asks and sets nothing."""

_TIME_ERROR: Final = 5
"""What ntp_adjtime returns when no time source has disciplined the clock."""

SIGNATURES_MAX: Final = 32
SIGN_TIME_S: Final = 2.0
"""How many test signatures, and for how long at most, tell what one costs."""

SERVICE_WAIT_S: Final = 5.0
"""How long a service may take to answer before it counts as away."""

CLOCKS_APART_S: Final = 2.0
"""Clocks that something keeps right differ by milliseconds."""

SLOW_SIGNATURE_S: Final = 0.1
"""A smart card's cost; with one signature a batch it bounds latency, not rate."""

_WANTED: Final = {
    "sensitive": True, "extractable": False, "never_extractable": True, "local": True, "decrypt": False,
    "unwrap": False, "derive": False,
}  # fmt: skip
"""How a key is kept that was made in the device, never leaves it and does nothing but sign."""


@app.command(
    epilog=example(
        "attestlog doctor /var/lib/attestlog",
        "attestlog doctor --signer 'pkcs11:token=attest;object=log-entries'",
    )
)
def doctor(
    log: Annotated[
        str,
        typer.Argument(
            help="The log's directory, or where it will be; or the URL of a service.", metavar="DIRECTORY|URL"
        ),
    ] = ".",
    *,
    signer: Annotated[str | None, options.text("Check this key, and let it sign.", metavar="URI")] = None,
    pkcs11_module: Annotated[
        str | None, options.text("Check the devices behind this PKCS#11 library.", metavar="PATH")
    ] = None,
    token_file: Annotated[
        Path | None, options.text("Of a service: a token to ask it with.", "--token-file", metavar="FILE")
    ] = None,
    as_json: options.JsonOption = False,
) -> None:
    """Check versions, disk, clock, cores, extras, and the directories of keys and state; or a service.

    To measure the disk it writes a small file to the directory, and removes it. Of a service (unix:PATH,
    https://…, http:// on this machine) it asks whether it answers, can append, and has this machine's time.
    Exit code 4 means that a log cannot be kept there, that the given key cannot sign, or that the service
    cannot append.
    """
    from attestlog._internal.storage.resolve import directory

    out = Output(as_json)
    if log.startswith(("unix:", "http://", "https://")):
        root, checks = log, list(_service(log, token_file))
    else:
        where = directory(log, _ON_POSTGRES).absolute()
        root, checks = str(where), _everything(where)
    if pkcs11_module is not None:
        checks += _devices(pkcs11_module)
    if signer is not None:
        checks += _signer(signer)
    if out.as_json:
        found = {check.name: {"state": check.state, "value": check.value, **check.facts} for check in checks}
        out.emit("doctor", {"directory": root, "checks": found})
    else:
        for check in checks:
            out.text(f"{check.name:<12} ", (f"{check.state:<5}", _STYLES[check.state]), f" {check.value}")
    if any(check.state == "bad" for check in checks):
        raise typer.Exit(exits.UNKNOWN)


@dataclass
class Check:
    """One result. `state` is `good`, `note` (worth knowing) or `bad` (no log can be kept here)."""

    name: str
    value: str
    state: str = "good"
    facts: dict[str, Any] = field(default_factory=dict)


def _service(url: str, token_file: Path | None) -> Iterator[Check]:
    """A running service, by its URL."""
    from attestlog._internal.remote import RemoteLog, connect

    with connect(url, token_file=token_file, timeout_s=SERVICE_WAIT_S) as log:
        assert isinstance(log, RemoteLog)
        try:
            state = log.state()
        except AttestlogError as error:
            yield Check("service", str(error), "bad")
            return
        yield Check("service", f"{url} answers")
        is_ready = state == "ready"
        yield Check(
            "append", "there is room" if is_ready else f"it is {state}", "good" if is_ready else "bad"
        )
        try:
            ahead_s = (log.now_us() - time.time_ns() // 1_000) / 1e6
            yield Check("log", log.origin, facts={"vkeys": log.vkeys})
        except AttestlogError as error:
            yield Check("log", str(error), "note")
            return
        is_near = abs(ahead_s) < CLOCKS_APART_S
        told = f"{abs(ahead_s):.1f} s {'ahead of' if ahead_s > 0 else 'behind'} this machine's"
        yield Check("clock", told, "good" if is_near else "note", {"ahead_s": ahead_s})


def _everything(directory: Path) -> list[Check]:
    """Every check, in the order they are shown."""
    return [
        *_versions(), _cores(), _filesystem(directory), _space(directory), _fsync_cost(directory), _clock(),
        _extras(), *_homes(),
    ]  # fmt: skip


def _versions() -> Iterator[Check]:
    """Versions of attestlog, Python, cryptography and OpenSSL."""
    import importlib.metadata

    from cryptography.hazmat.backends.openssl import backend

    from attestlog._internal.native import loading

    yield Check("attestlog", VERSION)
    yield Check(
        "python", f"{platform.python_implementation()} {platform.python_version()} on {platform.platform()}"
    )
    yield Check("cryptography", importlib.metadata.version("cryptography"))
    yield Check("openssl", backend.openssl_version_text())
    native = loading.loaded()
    is_fine = native.core is not None or not native.is_there
    yield Check("native", native.what, "good" if is_fine else "note", {"used": native.core is not None})


def _cores() -> Check:
    """How many processors this process, and so `verify`, may use."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Check("cores", str(count), facts={"count": count})


def _filesystem(directory: Path) -> Check:
    """The file system's type, and whether a log may be on it."""
    from attestlog._internal import disk

    try:
        kind = disk.filesystem_of(
            directory.resolve(), Path("/proc/self/mountinfo").read_text(errors="replace")
        )
    except OSError:
        kind = ""
    facts = {"filesystem": kind or None}
    try:
        disk.check_filesystem(directory)
    except FilesystemError as error:
        return Check("filesystem", str(error), "bad", facts)
    if kind in {"tmpfs", "ramfs"}:
        return Check(
            "filesystem", f"{kind}: in memory, a log here is lost when the machine stops", "note", facts
        )
    return Check("filesystem", kind or "unknown", "good" if kind else "note", facts)


def _space(directory: Path) -> Check:
    """Free bytes for this user."""
    try:
        free = shutil.disk_usage(directory).free
    except OSError as error:
        return Check("space", f"{directory}: {error.strerror}", "bad")
    state = "note" if free < FREE_SPACE_LOW_BYTES else "good"
    return Check("space", f"{free / 1e9:,.1f} GB free", state, {"free_bytes": free})


def _fsync_cost(directory: Path) -> Check:
    """What making a small write durable costs: the floor under every append that waits alone."""
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            costs = _sync_costs(file.fileno())
    except OSError as error:
        return Check("fsync", f"{directory} cannot be written: {error.strerror}", "bad")
    median, worst = statistics.median(costs), max(costs)
    facts = {"median_s": median, "max_s": worst, "count": len(costs)}
    value = f"{median * 1e3:.2f} ms, at worst {worst * 1e3:.2f} ms: {1 / median:,.0f} commits a second"
    return Check("fsync", value, "note" if median > SLOW_SYNC_S else "good", facts)


def _sync_costs(descriptor: int) -> list[float]:
    costs: list[float] = []
    while len(costs) < SYNCS_MAX and sum(costs) < SYNC_TIME_S:
        os.write(descriptor, bytes(2048))
        begun = time.perf_counter()
        os.fdatasync(descriptor)
        costs.append(max(time.perf_counter() - begun, 1e-9))
    return costs


def _clock() -> Check:
    """The time, and whether something keeps it right."""
    from attestlog._internal.core.entry import format_timestamp

    now_us = time.time_ns() // 1_000
    synchronised = _synchronised()
    facts = {"now": format_timestamp(now_us), "synchronised": synchronised}
    if datetime.fromtimestamp(now_us / 1e6, UTC).year < _EARLIEST_YEAR:
        return Check("clock", f"{facts['now']}: the clock was never set", "bad", facts)
    known = {
        True: "synchronised by a time source",
        False: "the clock is not synchronised (no NTP)",
        None: "this system does not say whether it is synchronised",
    }
    return Check("clock", f"{facts['now']}, {known[synchronised]}", "good" if synchronised else "note", facts)


def _synchronised() -> bool | None:
    """Whether the kernel says that a time source disciplines its clock; None where it cannot be asked."""
    import ctypes

    try:
        ask: Callable[[Any], int] = ctypes.CDLL(None).ntp_adjtime
        state = ask(ctypes.create_string_buffer(_TIMEX_SIZE_BYTES))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR


def _extras() -> Check:
    """Which optional parts are installed."""
    import importlib.metadata

    found: dict[str, bool] = {}
    for requirement in importlib.metadata.requires("attestlog") or ():
        match = re.match(r"([\w.-]++).*extra == ['\"]([\w-]+)['\"]", requirement)
        if match:
            found[match[2]] = found.get(match[2], True) and _is_installed(match[1])
    value = ", ".join(f"{name} {'yes' if there else 'no'}" for name, there in sorted(found.items()))
    return Check("extras", value or "none", facts={"installed": found})


def _is_installed(name: str) -> bool:
    import importlib.metadata

    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _homes() -> Iterator[Check]:
    """This user's directories: configuration, keys, state and cache."""
    from attestlog._internal import places

    for name in ("config", "keys", "state", "cache"):
        try:
            path: Path = getattr(places, f"{name}_dir")()
            files = sum(1 for child in path.iterdir() if child.is_file()) if path.is_dir() else 0
        except (OSError, AttestlogError) as error:
            yield Check(name, str(error), "note")
            continue
        facts = {"path": str(path), "files": files}
        if _can_write(path):
            yield Check(name, f"{path} ({files} files)", facts=facts)
        else:
            yield Check(name, f"{path} ({files} files) cannot be written", "note", facts)


def _can_write(path: Path) -> bool:
    """Whether files can be made in this directory, or it can be made itself."""
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def _devices(path: str) -> Iterator[Check]:
    """A PKCS#11 library, and the tokens that it offers."""
    from attestlog._internal.signers.opening import signer_module

    try:
        signer_module("pkcs11")
        from attestlog._internal.signers.pkcs11_survey import survey

        found = survey(path)
    except AttestlogError as error:
        yield Check("module", str(error), "bad")
        return
    tokens = found.pop("tokens")
    yield Check(
        "module", "{manufacturer}: {description} {version}, PKCS#11 {cryptoki}".format(**found), facts=found
    )
    if not tokens:
        yield Check("token", "no token is initialised", "note")
    for token in tokens:
        usable = [name for name in ("ECDSA", "ECDSA_SHA256", "EDDSA") if name in token["mechanisms"]]
        signs = f"signs with {' and '.join(usable)}" if usable else "signs with neither ECDSA nor EDDSA"
        value = f"{token['manufacturer']} {token['model']}, serial {token['serial']}: {signs}"
        yield Check(f"token {token['token']}", value, "good" if usable else "note", token)


def _signer(uri: str) -> Iterator[Check]:
    """A key that a URI names: opened, looked at, and asked for signatures, which are verified."""
    from attestlog._internal.signers import open_signer

    try:
        opened = open_signer(uri, passphrase=ask_passphrase)
    except AttestlogError as error:
        yield Check("key", str(error), "bad")
        return
    try:
        yield _kept(opened)
        yield _signature_cost(opened)
    except AttestlogError as error:
        yield Check("signature", str(error), "bad")
    finally:
        opened.close()


def _kept(opened: Signer) -> Check:
    public = opened.public_key
    facts: dict[str, Any] = {
        "uri": opened.uri, "algorithm": public.algorithm, "key_id": public.key_id,
    }  # fmt: skip
    describe = getattr(opened, "describe", None)
    told: dict[str, Any] = describe() if describe is not None else {}
    facts |= told
    weak = [
        name.replace("_", " ") if told[name] else f"not {name.replace('_', ' ')}"
        for name, wanted in _WANTED.items()
        if told.get(name) is not None and told[name] is not wanted
    ]
    value = f"{public.key_id} ({public.algorithm})"
    if told.get("sensitive") is not None:
        value += f", {', '.join(weak)}" if weak else ", made in the device, cannot leave it, signs only"
    return Check("key", value, "note" if weak else "good", facts)


def _signature_cost(opened: Signer) -> Check:
    from attestlog._internal.signers.asking import sign_once

    costs: list[float] = []
    while len(costs) < SIGNATURES_MAX and sum(costs) < SIGN_TIME_S:
        begun = time.perf_counter()
        sign_once(opened)
        costs.append(time.perf_counter() - begun)
    median, worst = statistics.median(costs), max(costs)
    value = f"{median * 1e3:.2f} ms, at worst {worst * 1e3:.2f} ms, verified: {1 / median:,.0f} a second"
    facts = {"median_s": median, "max_s": worst, "count": len(costs)}
    return Check("signature", value, "note" if median > SLOW_SIGNATURE_S else "good", facts)
