"""`attestlog replicas`: where a log is copied to, and how far the copies are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from attestlog._internal.cli import options
from attestlog._internal.cli.opening import open_log
from attestlog._internal.cli.output import Output, printable
from attestlog._internal.cli.tables import print_table
from attestlog._internal.cli.verbs import example, new_app

app = new_app(help="Add, remove and see the replicas a log is sent to.")

Url = Annotated[str, typer.Argument(metavar="URL", help="Where the replica serves.", show_default=False)]


@app.command(epilog=example("attestlog replicas add audit https://r1.example.com --vkey VKEY --token-file T"))
def add(
    log: options.LogArgument,
    url: Url,
    *,
    vkey: Annotated[str, options.text("The key of its cosignatures.", metavar="VKEY")],
    token_file: Annotated[Path, options.text("The file with its bearer token.", metavar="FILE")],
    ca_file: Annotated[Path | None, options.text("Its certificate's authority.", metavar="FILE")] = None,
    as_json: options.JsonOption = False,
) -> None:
    """Send the log to this replica too, from the next opening on; log.toml names it, entries record it."""
    from attestlog._internal.replication.settings import add_replica, replica_at

    at = replica_at(url, vkey, token_file, ca_file)
    add_replica(log, at)
    out = Output(as_json)
    if out.as_json:
        out.emit("replica_added", {"url": at.url, "vkey": at.vkey})
    else:
        out.text(f"added {at.url}")


@app.command(epilog=example("attestlog replicas remove audit https://r1.example.com"))
def remove(log: options.LogArgument, url: Url, as_json: options.JsonOption = False) -> None:
    """Send the log there no more, from the next opening on. The copy stays where it is."""
    from attestlog._internal.replication.settings import remove_replica

    remove_replica(log, url)
    out = Output(as_json)
    if out.as_json:
        out.emit("replica_removed", {"url": url})
    else:
        out.text(f"removed {url}")


@app.command(epilog=example("attestlog replicas status audit", "attestlog replicas status audit --metrics"))
def status(
    log: options.LogArgument,
    metrics: Annotated[bool, options.flag("As Prometheus text.", "--metrics")] = False,
    as_json: options.JsonOption = False,
) -> None:
    """Show how far each replica is, as its answers told this machine last; nobody is asked."""
    from attestlog._internal.replication.status import as_metrics, replica_status

    found, out = replica_status(log), Output(as_json)
    if metrics:
        out.raw(as_metrics(found).encode())
        return
    rows: list[list[Any]] = []
    for item in found:
        if out.as_json:
            out.emit("replica_status", item.members())
        state = (item.state, "green" if item.state == "good" else "bold red")
        rows.append([item.url, state, item.size, item.lag, item.cosigned_size, printable(item.error) or None])
    if not out.as_json:
        print_table(
            out, ["replica", "state", "holds", "behind", "cosigned", "error"], rows,
            right=("holds", "behind", "cosigned"), shrinks="error",
        )  # fmt: skip


@app.command(epilog=example("attestlog replicas sync audit"))
def sync(
    log: options.LogArgument,
    signer: options.SignerOption = None,
    checkpoint_signer: options.CheckpointSignerOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Send every replica all there is, now, and have it cosigned. Exit code 4 if one lacks anything."""
    out, failed = Output(as_json), 0
    with open_log(log, signer=signer, checkpoint_signer=checkpoint_signer) as opened:
        for url, error in opened.sync_replicas():
            failed += error is not None
            if out.as_json:
                out.emit("replica_synced", {"url": url, "error": None if error is None else error.message})
            elif error is not None:
                out.text(f"{url}  ", (error.message, "bold red"))
            else:
                out.text(f"{url}  ", ("holds all of it", "green"))
    raise typer.Exit(4 if failed else 0)


@app.command(epilog=example("attestlog replicas erasures audit"))
def erasures(log: options.LogArgument, as_json: options.JsonOption = False) -> None:
    """Ask each replica which payloads are erased here and still there. Exit code 1 if there are any."""
    from attestlog._internal.replication.status import unerased_at

    out, left = Output(as_json), False
    for url, numbers in unerased_at(log):
        left = left or bool(numbers)
        if out.as_json:
            out.emit("unerased", {"url": url, "sequence_numbers": numbers})
        elif numbers:
            out.text(f"{url}  ", (f"still holds {', '.join(map(str, numbers))}", "bold red"))
        else:
            out.text(f"{url}  ", ("has erased all that is erased here", "green"))
    raise typer.Exit(1 if left else 0)
