"""`attestlog replica`: the replicas that a log is copied to, and how far their copies are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from attestlog._internal.cli import exits, options
from attestlog._internal.cli.opening import open_log
from attestlog._internal.cli.options import argument, flag, text
from attestlog._internal.cli.output import Output, print_table, printable
from attestlog._internal.cli.verbs import example, new_group

app = new_group("replica")

UrlArgument = Annotated[str, argument("URL", "Base URL of the replica.")]


@app.command(epilog=example("attestlog replica add audit https://r1.example.com --vkey VKEY --token-file T"))
def add(
    log: options.LogArgument,
    url: UrlArgument,
    *,
    vkey: Annotated[str, text("Verifier key of its cosignatures.", metavar="VKEY")],
    token_file: Annotated[Path, text("File with its bearer token.", metavar="FILE")],
    ca_file: Annotated[Path | None, text("Certificate authority of the replica.", metavar="FILE")] = None,
    as_json: options.JsonOption = False,
) -> None:
    """Copy the log to this replica too, from the next open on.

    The configuration names the replica, and entries record its URL.
    """
    from attestlog._internal.replication.settings import add_replica, replica_at

    at = replica_at(url, vkey, token_file, ca_file)
    add_replica(log, at)
    out = Output(as_json)
    if out.as_json:
        out.emit("replica_added", {"url": at.url, "vkey": at.vkey})
    else:
        out.text(f"added {at.url}")


@app.command(epilog=example("attestlog replica remove audit https://r1.example.com"))
def remove(log: options.LogArgument, url: UrlArgument, as_json: options.JsonOption = False) -> None:
    """Stop copying the log to this replica, from the next open on. Its copy is not deleted."""
    from attestlog._internal.replication.settings import remove_replica

    remove_replica(log, url)
    out = Output(as_json)
    if out.as_json:
        out.emit("replica_removed", {"url": url})
    else:
        out.text(f"removed {url}")


@app.command(epilog=example("attestlog replica status audit", "attestlog replica status audit --metrics"))
def status(
    log: options.LogArgument,
    metrics: Annotated[bool, flag("Print Prometheus text.", "--metrics")] = False,
    as_json: options.JsonOption = False,
) -> None:
    """List the log's replicas, and how far each copy is.

    The figures come from the last answers to this machine; no replica is asked now.
    """
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


@app.command(epilog=example("attestlog replica sync audit"))
def sync(
    log: options.LogArgument,
    signer: options.SignerOption = None,
    checkpoint_signer: options.CheckpointSignerOption = None,
    as_json: options.JsonOption = False,
) -> None:
    """Send every replica all entries now, and have it cosign.

    Exit code 4 means that a replica does not have all entries.
    """
    out, failed = Output(as_json), False
    with open_log(log, signer=signer, checkpoint_signer=checkpoint_signer) as opened:
        for url, error in opened.sync_replicas():
            failed = failed or error is not None
            if out.as_json:
                out.emit("replica_synced", {"url": url, "error": None if error is None else error.message})
            elif error is not None:
                out.text(f"{url}  ", (error.message, "bold red"))
            else:
                out.text(f"{url}  ", ("has all entries", "green"))
    raise typer.Exit(exits.UNKNOWN if failed else exits.DONE)


@app.command(epilog=example("attestlog replica erasures audit"))
def erasures(log: options.LogArgument, as_json: options.JsonOption = False) -> None:
    """Ask each replica for payloads that are erased only here.

    Exit code 1 means that a replica still has such payloads.
    """
    from attestlog._internal.replication.status import unerased_at

    out, left = Output(as_json), False
    for url, numbers in unerased_at(log):
        left = left or bool(numbers)
        if out.as_json:
            out.emit("unerased", {"url": url, "sequence_numbers": numbers})
        elif numbers:
            out.text(f"{url}  ", (f"still has the payloads of {', '.join(map(str, numbers))}", "bold red"))
        else:
            out.text(f"{url}  ", ("has erased all that is erased here", "green"))
    raise typer.Exit(exits.TAMPERED if left else exits.DONE)
