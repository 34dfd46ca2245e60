"""`attestlog publish`: the log as static files that any web server can hand out."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from attestlog._internal.cli import options
from attestlog._internal.cli.cosigning import cosign, kept_checkpoint
from attestlog._internal.cli.opening import open_log
from attestlog._internal.cli.output import Bar, Output, notice
from attestlog._internal.cli.verbs import UsageError, example, new_app

if TYPE_CHECKING:
    from collections.abc import Callable

    from attestlog._internal.storage.publishing import Published

app = new_app()

ExplorerOption = Annotated[
    bool, options.flag("Write a page beside them, which checks them in a browser.", "--explorer")
]
WithEntriesOption = Annotated[
    bool, options.flag("With --explorer: publish what the entries say, too.", "--with-entries")
]

PARTIALS_KEPT_S: Final = 3_600.0
"""With --every: how long readers of an older checkpoint have to fetch its partial files."""


@app.command(
    epilog=example(
        "attestlog publish audit public",
        "attestlog publish audit s3://example-logs/audit --every 1s --sign",
        "attestlog verify public",
    )
)
def publish(
    log: options.LogArgument,
    place: Annotated[
        str, options.argument("DIR|URL", "Folder to write to, such as a web server's; or s3://BUCKET/PREFIX.")
    ],
    *,
    whole: Annotated[
        bool, options.flag("Check every file again, and write what is missing.", "--whole")
    ] = False,
    every: Annotated[
        str | None, options.text("Go on, and publish what is new this often: 1s, 5m.", metavar="TIME")
    ] = None,
    sign: Annotated[bool, options.flag("Sign a checkpoint over all entries first.", "--sign")] = False,
    checkpoint_signer: options.CheckpointSignerOption = None,
    partials_kept: Annotated[
        str | None,
        options.text(
            "Remove partial files so long after the full one is published; with --every: 1h.",
            "--remove-partials-after",
            metavar="TIME",
        ),
    ] = None,
    witnesses: options.WitnessesOption = None,
    fail_open: options.FailOpenOption = False,
    explorer: ExplorerOption = False,
    with_entries: WithEntriesOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Write the log's latest checkpoint, tiles and entry bundles as static C2SP files; only what is new.

    Only hashes are published, and the content of entries only if --with-entries says so: then everyone who
    can read the folder can read them. No key is needed, unless --sign is given. If a
    file is there already and differs, that is evidence of another history: it is left as it is, and nothing
    is published. With --witnesses, nothing is published until the quorum of the trust policy has cosigned it.

    s3:// takes credentials, region and endpoint from the usual AWS environment variables. A store that
    ignores conditional requests is refused. With --every it runs until Ctrl-C; a store that cannot be
    reached is tried again.
    """
    from attestlog._internal.storage.publishing import open_publishing

    if checkpoint_signer is not None and not sign:
        raise UsageError("--checkpoint-signer is for --sign")
    _check_explorer(place, explorer=explorer, with_entries=with_entries)
    pause_s, kept_s = _spans(every, partials_kept)
    out = Output(as_json)
    with ExitStack() as stack:
        opened = stack.enter_context(open_log(log, checkpoint_signer=checkpoint_signer)) if sign else None
        publishing = stack.enter_context(open_publishing(place))

        def once(*, is_whole: bool) -> Published:
            note = None if opened is None else opened.checkpoint()
            if witnesses is not None:
                # What is published is this note, whichever one the log has stored by then.
                note = cosign(log, witnesses, previous=kept_checkpoint(place), fail_open=fail_open).note
            with Bar("publishing") as bar:
                done = publishing.publish(log, note=note, whole=is_whole, progress=bar)
            if explorer:
                _write_explorer(log, place, done.size, with_entries=with_entries, whole=is_whole)
            if kept_s is not None:
                publishing.remove_superseded(done.size, kept_s)
            return done

        done = once(is_whole=whole)
        _show(out, done)
        if pause_s is not None:
            _go_on(out, lambda: once(is_whole=False), pause_s, done.size)


def _spans(every: str | None, partials_kept: str | None) -> tuple[float | None, float | None]:
    """Seconds between two runs, and for which partial files stay; None where there is no such time."""
    pause_s = None if every is None else _seconds("--every", every)
    kept_s = None if partials_kept is None else _seconds("--remove-partials-after", partials_kept)
    return pause_s, PARTIALS_KEPT_S if pause_s is not None and kept_s is None else kept_s


def _check_explorer(place: str, *, explorer: bool, with_entries: bool) -> None:
    from attestlog._internal.storage.resolve import is_url

    if with_entries and not explorer:
        raise UsageError("--with-entries is for --explorer")
    if explorer and is_url(place):
        raise UsageError("--explorer writes to a folder: publish to one, and copy it to the bucket")


def _write_explorer(log: str, place: str, size: int, *, with_entries: bool, whole: bool) -> None:
    """The page beside what was published; entries, if they are asked for, noted as an export."""
    from attestlog._internal.cli.bundle import note
    from attestlog._internal.explorer.published import write_entries, write_page
    from attestlog._internal.storage.resolve import open_source

    folder = Path(place)
    if with_entries:
        source = open_source(log)
        # First, so that an erasure names this folder even if writing is cut short.
        note(source, "explorer", folder, start=0, stop=size, entries=size)
        write_entries(source, folder, size, whole=whole)
    write_page(folder, with_entries=with_entries)


def _go_on(out: Output, once: Callable[[], Published], pause_s: float, size: int) -> None:
    """Publish again and again. An error that may pass is reported, and tried again; any other ends it."""
    from attestlog.errors import AttestlogError, QuorumError

    failure = ""
    while True:
        out.flush()
        time.sleep(pause_s)
        try:
            done = once()
        except AttestlogError as error:
            if not (error.retryable or isinstance(error, QuorumError)):
                raise
            if str(error) != failure:
                notice(f"tried again: {error}")
            failure = str(error)
            continue
        if done.size != size or failure:
            _show(out, done)
        failure, size = "", done.size


def _seconds(name: str, text: str) -> float:
    from attestlog._internal.query.filter import parse_moment

    now_us = time.time_ns() // 1000
    seconds = (now_us - parse_moment(text, now_us)) / 1e6
    if seconds < 0 or (name == "--every" and not seconds):
        raise UsageError(f"{name} {text}: want a time such as 1s or 5m")
    return seconds


def _show(out: Output, done: Published) -> None:
    if out.as_json:
        out.emit("published", msgspec.to_builtins(done))
        return
    out.text(f"{done.origin} at {done.size:,} entries, {done.size - done.old_size:,} more than before")
    out.text(f"root   {done.root}")
    out.text(f"files  {done.written:,} new, {done.found:,} were there, in {done.path}")
