"""`attestlog configure`: where this machine finds a log's keys, and whom it asks what the log must have."""

from __future__ import annotations

from typing import Annotated

from attestlog._internal.cli.options import JsonOption, LogArgument, text
from attestlog._internal.cli.output import Output
from attestlog._internal.cli.verbs import example, new_app

app = new_app()


@app.command(
    epilog=example("attestlog configure audit --entry-signer 'pkcs11:token=attest;object=log-entries'")
)
def configure(
    log: LogArgument,
    *,
    entry_signer: Annotated[
        list[str] | None,
        text("Signs entries; repeatable: the one with a key in force is used.", metavar="URI"),
    ] = None,
    checkpoint_signer: Annotated[
        str | None, text("Signs checkpoints (Ed25519), or 'elsewhere': another host does.", metavar="URI")
    ] = None,
    checkpoint_pq_signer: Annotated[
        str | None, text("Signs checkpoints with ML-DSA-44 as well.", metavar="URI")
    ] = None,
    fence: Annotated[
        list[str] | None,
        text("Published log, witness or replica: the log must have what it has; repeatable.", metavar="URL"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say where this machine finds a log's keys, and its fence, and show that.

    For a log that came from another machine, or whose keys have moved. What you do not give stays as it is;
    where nothing was said yet, key files of the log are looked for in the keys directory. The log's own
    directory names no keys, and is not written.
    """
    import msgspec

    from attestlog._internal.configuring import configure_log

    config = configure_log(
        log, entry=entry_signer or [], checkpoint=checkpoint_signer, checkpoint_pq=checkpoint_pq_signer,
        fence=fence or [],
    )  # fmt: skip
    out = Output(as_json)
    if out.as_json:
        out.emit("configuration", msgspec.to_builtins(config))
        return
    out.text("origin             ", (config.origin, "bold"))
    out.text(f"genesis            {config.genesis}")
    for uri in config.signers.entries:
        out.text(f"entry signer       {uri}")
    out.text(f"checkpoint signer  {config.signers.checkpoint}")
    if config.signers.checkpoint_pq is not None:
        out.text(f"and ML-DSA-44      {config.signers.checkpoint_pq}")
    for url in config.fence:
        out.text(f"fence              {url}")
    for at in config.replicas:
        out.text(f"replica            {at.url}")
