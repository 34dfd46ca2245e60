"""`attestlog init`: a new log."""

from __future__ import annotations

import contextlib
import shlex
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from attestlog._internal.cli.opening import ask_passphrase
from attestlog._internal.cli.options import AnyFilesystemOption, JsonOption, LogArgument, flag, text
from attestlog._internal.cli.output import Output, hint, notice
from attestlog._internal.cli.verbs import UsageError, example, new_app

if TYPE_CHECKING:
    from attestlog._internal.core.genesis import Continues
    from attestlog._internal.log import Log

app = new_app()

PQ_VKEY_SHOWN: Final = 60
"""Characters of a vkey of 1,800 that tell it from others."""


@app.command(epilog=example("attestlog init audit --origin example.com/agents"))
def init(
    log: LogArgument,
    *,
    origin: Annotated[str, text("The log's permanent name: a URL without scheme.", metavar="NAME")],
    signer: Annotated[
        str | None, text("Signs entries. A file:PATH that does not exist is made.", metavar="URI")
    ] = None,
    checkpoint_signer: Annotated[str | None, text("Signs checkpoints (Ed25519).", metavar="URI")] = None,
    checkpoint_pq_signer: Annotated[
        str | None, text("Signs checkpoints with ML-DSA-44 as well.", metavar="URI")
    ] = None,
    algorithm: Annotated[
        str, text("For a new entry key; or Ed25519, ML-DSA-44, ML-DSA-65.", metavar="NAME")
    ] = "ECDSA-P256-SHA256",
    batch: Annotated[
        bool, typer.Option(help="Sign entries that are committed together with one signature.")
    ] = True,
    policy: Annotated[Path | None, text("Policy: rules, approvers, pillars.", metavar="FILE.toml")] = None,
    erasable_payloads: Annotated[
        bool, flag("Salt payloads, so that they can be erased later.", "--erasable-payloads")
    ] = False,
    group: Annotated[str | None, text("Users of this group may write it, too.", metavar="NAME")] = None,
    readers: Annotated[str | None, text("Users of this group may read it, too.", metavar="NAME")] = None,
    continues: Annotated[
        str | None,
        text("An older log that this one goes on from, or a file with a checkpoint of it.", metavar="OLD"),
    ] = None,
    reason: Annotated[str | None, text("With --continues: why; the log keeps this text.")] = None,
    any_filesystem: AnyFilesystemOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a new log.

    It is for its owner alone, unless --group or --readers lets others in.

    Without --signer, key files are made in the keys directory (`attestlog keys list` shows them). If
    ATTESTLOG_PASSPHRASE is set, they are encrypted with it.

    With --continues the older log is verified first, and the new one says for good what it goes on from: for
    a log whose tail or checkpoint key was lost, or that is closed each year.
    """
    from attestlog._internal.cli.policy import read_policy
    from attestlog._internal.log import Log
    from attestlog._internal.storage.contract import Group

    if group is not None and readers is not None:
        raise UsageError("give --group or --readers, not both: a file has one group")
    if (continues is None) is not (reason is None):
        raise UsageError("--continues and --reason belong together")
    carried = None if continues is None or reason is None else _carry_over(continues, reason)
    _say_if_remembered(origin)
    name = group or readers
    _quietly(
        Log.create,
        log, origin=origin, signer=signer, checkpoint_signer=checkpoint_signer,
        checkpoint_pq_signer=checkpoint_pq_signer, algorithm=algorithm,
        policy=None if policy is None else read_policy(policy), batch=batch,
        erasable_payloads=erasable_payloads, passphrase=ask_passphrase, any_filesystem=any_filesystem,
        group=None if name is None else Group(name, may_write=readers is None),
        continues=carried,
    ).close()  # fmt: skip
    out, described = Output(as_json), _describe_log(log)
    out.emit("log", described) if as_json else _show(out, log, described)


def _quietly(make: Callable[..., Log], *arguments: Any, **options: Any) -> Log:
    """What Python warns of was said already, in the words of a command."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make(*arguments, **options)


def _carry_over(old: str, reason: str) -> Continues:
    """What is carried over; what is not is said."""
    from attestlog._internal.core.report import Verdict
    from attestlog._internal.verifying.chain import find_carried_over

    continues, report = find_carried_over(old, reason=reason)
    for item in report.findings if report is not None else ():
        if item.verdict is not Verdict.VERIFIED:
            notice(f"{old}: {item.message}")
    return continues


def _say_if_remembered(origin: str) -> None:
    """At once, and not when `verify` says FORKED: two logs of one name look like two histories of one."""
    from attestlog._internal.places import state_dir
    from attestlog._internal.verifying.memory import is_taken
    from attestlog.errors import NoHomeError

    with contextlib.suppress(OSError, NoHomeError):
        if is_taken(state_dir(), origin):
            notice(f"another log named {origin} is remembered: verify will say FORKED of this one")
            hint(f"choose another name, or attestlog memory forget {origin}")


def _describe_log(path: str) -> dict[str, Any]:
    """Origin, keys, settings and policy, and the URIs of the private keys."""
    import msgspec

    from attestlog._internal.config import read_config
    from attestlog._internal.core.note import format_vkey
    from attestlog._internal.storage.resolve import open_source

    log = open_source(path)
    genesis, config = log.genesis(), read_config(log)
    return {
        "path": log.absolute(),
        "origin": genesis.origin,
        "entry_keys": [
            {"key_id": key_id, "algorithm": key.algorithm, "public_key": key.pem}
            for key_id, key in genesis.entry_keys.items()
        ],
        "checkpoint_keys": [format_vkey(key) for key in genesis.checkpoint_keys],
        "signers": msgspec.to_builtins(config.signers),
        "settings": msgspec.to_builtins(genesis.settings),
        "continues": msgspec.to_builtins(genesis.continues),
        "policy": msgspec.to_builtins(genesis.policy),
    }


def _show(out: Output, log: str, described: dict[str, Any]) -> None:
    (key,), (vkey, *more) = described["entry_keys"], described["checkpoint_keys"]
    out.text("made log        ", (described["path"], "bold"))
    out.text(f"origin          {described['origin']}")
    out.text(f"entry key       {key['key_id']} ({key['algorithm']})")
    out.text(f"  kept in       {described['signers']['entry']}")
    out.text(f"checkpoint key  {vkey}")
    out.text(f"  kept in       {described['signers']['checkpoint']}")
    for pq_vkey in more:
        out.text(f"and ML-DSA-44   {pq_vkey[:PQ_VKEY_SHOWN]}… (keys list LOG --json shows all of it)")
        out.text(f"  kept in       {described['signers']['checkpoint_pq']}")
    redaction = described["policy"]["redaction"]
    if redaction["enabled"]:
        out.text("redaction       on: passwords, tokens and keys are replaced before an entry is written;")
        out.text(
            "                receipts say which. The policy says what is replaced: attestlog policy show"
        )
    else:
        out.text("redaction       off: entries are written as they are given")
    if described["continues"] is not None:
        old = described["continues"]
        out.text(f"continues       {old['origin']}, {old['size']:,} entries carried over")
        out.text(f"  genesis       {old['genesis']}")
        out.text(f"  root          {old['root']}")
    out.text()
    out.text("Send the checkpoint key to auditors, so that they can check the log independently:")
    out.text((f"  attestlog verify {shlex.quote(log)} --trust {vkey}", "cyan"))
