"""`attestlog keys`: make and list signing keys; rotate, admit and revoke those of a log."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final

from attestlog._internal.cli import options
from attestlog._internal.cli.opening import ask_passphrase, ask_secret, open_log
from attestlog._internal.cli.options import argument, flag, text
from attestlog._internal.cli.output import Output, print_table
from attestlog._internal.cli.verbs import UsageError, example, new_group

if TYPE_CHECKING:
    from attestlog._internal.log import Log, Receipt
    from attestlog._internal.signers import Signer

app = new_group("keys")

_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*:")

ActorOption = Annotated[str | None, text("Name or id of the person; default: the key.", metavar="ID")]


@app.command(
    epilog=example(
        "attestlog keys generate signing.pem --algorithm Ed25519 --protect",
        "attestlog keys generate --signer 'pkcs11:token=attest;object=log-entries'",
    )
)
def generate(
    where: Annotated[
        str | None,
        argument("[PATH|file:PATH]", "Where to write the key; default: the keys directory."),
    ] = None,
    *,
    signer: Annotated[
        str | None, text("Make the key in this device: pkcs11:token=…;object=…", metavar="URI")
    ] = None,
    algorithm: Annotated[
        str, text("Default: ECDSA-P256-SHA256. Or Ed25519, ML-DSA-44, ML-DSA-65.", metavar="NAME")
    ] = "ECDSA-P256-SHA256",
    protect: Annotated[bool, flag("Encrypt the file; asks for a passphrase.", "--protect")] = False,
    as_json: options.JsonOption = False,
) -> None:
    """Make a key, in a file or in a device.

    Only the owner can read the file; from a device the key cannot be read at all. A key is never overwritten.
    If ATTESTLOG_PASSPHRASE is set, a file is encrypted with it. A device's PIN comes from ATTESTLOG_PIN, from
    pin-source=file:PATH in the URI, or from the terminal.
    """
    if signer is not None and (where is not None or protect):
        raise UsageError("use either --signer (a device), or PATH and --protect (a file)")
    made = _make_in_file(where, algorithm, protect) if signer is None else _make_in_device(signer, algorithm)
    public, out = made.public_key, Output(as_json)
    key = {
        "uri": made.uri, "algorithm": public.algorithm, "key_id": public.key_id, "public_key": public.pem,
    }  # fmt: skip
    made.close()
    if out.as_json:
        out.emit("key", key)
        return
    out.text(f"key id     {public.key_id} ({public.algorithm})")
    out.text(f"kept in    {key['uri']}")
    for line in public.pem.splitlines():
        out.text(line)


@app.command("list", epilog=example("attestlog keys list audit"))
def list_keys(
    log: Annotated[str | None, argument("[LOG]", "Show the public keys of this log.")] = None,
    as_json: options.JsonOption = False,
) -> None:
    """List key files, or the public keys of a log.

    Without LOG, the files in the keys directory. With LOG, its public keys, and what each signs.
    """
    out = Output(as_json)
    rows = list(_list_key_files() if log is None else _list_log_keys(log))
    if out.as_json:
        for row in rows:
            out.emit("key", row)
        return
    place = "uri" if log is None else "signs"
    cells = [[_signs(row), row["algorithm"], row["key_id"] or (row["problem"], "yellow")] for row in rows]
    print_table(out, [place, "algorithm", "key id"], cells)


@app.command(epilog=example("attestlog keys rotate audit --to file:keys/2027.pem"))
def rotate(
    log: options.LogArgument,
    *,
    to: Annotated[
        str | None, text("The new signer. A file:PATH that does not exist is made.", metavar="URI")
    ] = None,
    algorithm: Annotated[
        str | None, text("Algorithm of a new key file; default: that of the old key.", metavar="NAME")
    ] = None,
    signer: options.SignerOption = None,
    actor_id: ActorOption = None,
    any_filesystem: options.AnyFilesystemOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Replace the log's signing key.

    The old key signs the change, the new key its consent. From the next entry on, the new key is accepted
    in its place, and the configuration names it. Keys of other hosts stay. Without --to, a key file is made
    in the keys directory. Afterwards, destroy the old key.
    """
    from attestlog._internal.core.entry import decode_line
    from attestlog._internal.core.rotation import parse_rotation

    with open_log(log, signer=signer, any_filesystem=any_filesystem) as opened:
        receipt = opened.rotate_key(to, algorithm=algorithm, **_actor(actor_id))
    entry = decode_line(receipt.line)
    key = parse_rotation(entry.action_payload).key
    facts = {
        "old_key_id": entry.signing_key_id,
        "key_id": key.key_id,
        "algorithm": key.algorithm,
        "public_key": key.pem,
    }
    out, members = Output(as_json), {"sequence_number": receipt.sequence_number, **facts}
    out.emit("rotation", members) if out.as_json else _show_change(out, receipt, facts)


@app.command(
    epilog=example("attestlog keys consent audit --signer file:keys/host-2.pem --label host-2 > host-2.json")
)
def consent(
    log: options.LogArgument,
    *,
    signer: Annotated[str, text("The key that is to sign too.", metavar="URI")],
    label: Annotated[str, text("Which host's key it is, 1 to 64 characters.", metavar="NAME")],
    as_json: options.JsonOption = False,
) -> None:
    """Consent, with a new key, to sign a log beside its other keys.

    Run it on the new host. The output goes to a host whose key is in force, for `attestlog keys admit`.
    """
    from attestlog._internal.approving import consent_to_admission

    payload, out = consent_to_admission(log, signer, label=label, passphrase=ask_passphrase), Output(as_json)
    out.emit("consent", payload) if as_json else out.raw(json.dumps(payload, indent=1).encode() + b"\n")


@app.command(epilog=example("attestlog keys admit audit host-2.json"))
def admit(
    log: options.LogArgument,
    file: Annotated[str, argument("CONSENT", "The file that `attestlog keys consent` made.")],
    *,
    signer: options.SignerOption = None,
    actor_id: ActorOption = None,
    approval: options.ApprovalOption = None,
    request_to: options.RequestApprovalOption = None,
    any_filesystem: options.AnyFilesystemOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Admit the key of another host, to sign beside those in force.

    It needs the approvals that the policy requires. Require one: otherwise a thief of any key can admit
    another.
    """
    from attestlog._internal.cli.approval import request_approval
    from attestlog._internal.cli.files import read_file
    from attestlog._internal.core import canonical
    from attestlog._internal.core.reserved import ADMIT_SIGNING_KEY
    from attestlog._internal.core.rotation import parse_admission
    from attestlog._internal.log.drafts import change_draft

    payload, out = canonical.decode(read_file(file)), Output(as_json)
    admission = parse_admission(payload)
    given = {"actor_id": admission.key.key_id, "event_category": "CRITICAL", **_actor(actor_id)}
    members = change_draft(ADMIT_SIGNING_KEY, payload, given)
    if request_to is not None:
        request_approval(out, log, members, request_to)
        return
    with open_log(log, signer=signer, any_filesystem=any_filesystem) as opened:
        receipt = opened.admit_key(payload, **given, **_approvals(opened, members, approval))
    facts = {
        "key_id": admission.key.key_id, "algorithm": admission.key.algorithm,
        "public_key": admission.key.pem, "label": admission.label,
    }  # fmt: skip
    shown = {"sequence_number": receipt.sequence_number, **facts}
    out.emit("admission", shown) if out.as_json else _show_change(out, receipt, facts)


@app.command(
    epilog=example("attestlog keys revoke audit KEY_ID --last-trusted 4711 --reason 'laptop stolen'"),
)
def revoke(
    log: options.LogArgument,
    key_id: Annotated[str, argument("KEY_ID", "The key, as `attestlog keys list LOG` shows it.")],
    *,
    last_trusted: Annotated[int, text("Last entry of this key that is still trusted.", metavar="N")],
    reason: options.ReasonOption,
    signer: options.SignerOption = None,
    actor_id: ActorOption = None,
    approval: options.ApprovalOption = None,
    request_to: options.RequestApprovalOption = None,
    any_filesystem: options.AnyFilesystemOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Record that later entries of a key are not to be trusted.

    Rotate first where it is the only key in force. Verifiers then doubt what the key signed after entry N,
    unless they verified it earlier and remember it. Keys that came in by it after entry N go with it.
    It needs the approvals that the policy requires.
    """
    from attestlog._internal.cli.approval import request_approval
    from attestlog._internal.core.reserved import REVOKE_SIGNING_KEY
    from attestlog._internal.core.rotation import Revocation, format_revocation
    from attestlog._internal.in_force import read_rules
    from attestlog._internal.log.drafts import change_draft
    from attestlog._internal.storage.resolve import open_source

    revocation = Revocation(key_id=key_id, last_trusted_sequence_number=last_trusted, reason=reason)
    given, out = {"event_category": "CRITICAL", **_actor(actor_id)}, Output(as_json)
    if "actor_id" not in given:
        given["actor_id"] = read_rules(open_source(log), with_holds=False).key_ids[0]
    members = change_draft(REVOKE_SIGNING_KEY, format_revocation(revocation), given)
    if request_to is not None:
        request_approval(out, log, members, request_to)
        return
    with open_log(log, signer=signer, any_filesystem=any_filesystem) as opened:
        approvals = _approvals(opened, members, approval)
        receipt = opened.revoke_key(key_id, reason=reason, last_trusted=last_trusted, **given, **approvals)
    facts = {"key_id": key_id, "last_trusted": last_trusted, "reason": reason}
    shown = {"sequence_number": receipt.sequence_number, **facts}
    out.emit("revocation", shown) if out.as_json else _show_change(out, receipt, facts)


def _list_key_files() -> Iterator[dict[str, Any]]:
    """The files in the keys directory. One that cannot be opened has a `problem` instead of a key id."""
    from attestlog._internal.signers.file import key_files

    for uri, key, problem in key_files():
        yield {
            "uri": uri, "algorithm": key and key.algorithm, "key_id": key and key.key_id, "problem": problem,
        }  # fmt: skip


def _list_log_keys(log: str) -> Iterator[dict[str, Any]]:
    """The public keys of a log: each entry key with the entries it signs, then the checkpoint keys."""
    from attestlog._internal.core.note import COSIGNATURE_ML_DSA_44, ED25519, format_vkey
    from attestlog._internal.core.reserved import ADMIT_SIGNING_KEY, ROTATE_SIGNING_KEY
    from attestlog._internal.core.rotation import parse_admission, parse_rotation
    from attestlog._internal.in_force import changes_of_rules, read_rules
    from attestlog._internal.storage.resolve import open_source

    parsers = {ROTATE_SIGNING_KEY: parse_rotation, ADMIT_SIGNING_KEY: parse_admission}
    source = open_source(log)
    genesis = source.genesis()
    rules = read_rules(source, with_holds=False)
    keys = dict(genesis.entry_keys)
    for entry in changes_of_rules(rules, source):
        if (parse := parsers.get(entry.action_type)) is not None:
            key = parse(entry.action_payload).key
            keys[key.key_id] = key
    for key_id, term in rules.terms.items():
        key = keys[key_id]
        yield {
            "signs": "entries", "algorithm": key.algorithm, "key_id": key_id, "public_key": key.pem,
            "start": term.start, "stop": term.stop, "last_trusted": term.last_trusted, "label": term.label,
        }  # fmt: skip
    algorithms = {ED25519: "Ed25519", COSIGNATURE_ML_DSA_44: "ML-DSA-44"}
    for vkey in genesis.checkpoint_keys:
        yield {
            "signs": "checkpoints", "algorithm": algorithms[vkey.kind], "key_id": vkey.key_id.hex(),
            "vkey": format_vkey(vkey),
        }  # fmt: skip


def _signs(row: dict[str, Any]) -> str:
    """Where a key file is, or what a log's key signs, in words."""
    if "uri" in row:
        return str(row["uri"])
    words = str(row["signs"]) + (f" of {row['label']}" if row.get("label") else "")
    if row.get("start") or row.get("stop") is not None:
        last = "on" if row["stop"] is None else f"to {row['stop'] - 1}"
        words += f" from {row['start']} {last}"
    if row.get("last_trusted") is not None:
        words += f", revoked: trusted to {row['last_trusted']}"
    return words


def _make_in_file(where: str | None, algorithm: str, protect: bool) -> Signer:
    """A new key file at a path or `file:` URI, else in the keys directory."""
    from attestlog._internal.core.signature import public_key
    from attestlog._internal.places import keys_dir
    from attestlog._internal.signers import file as key_files
    from attestlog._internal.signers.private_keys import make_key

    if where is not None and _SCHEME.match(where) and not where.startswith(key_files.SCHEME):
        raise UsageError(f"{where.partition(':')[0]}:… is not a file; --signer URI makes a key in a device")
    key = make_key(algorithm)
    public = public_key(key.public_key())
    path = keys_dir() / f"{public.algorithm.lower()}-{public.key_id[:16]}.pem"
    path = key_files.file_uri_path(where) if where else path
    return key_files.save_key(key, path, key_files.ask_passphrase(path, _new_passphrase if protect else None))


def _make_in_device(uri: str, algorithm: str) -> Signer:
    """A new key in a device. Raises SignerError also if the key cannot sign."""
    from attestlog._internal.signers.asking import sign_once
    from attestlog._internal.signers.making import make_in_device

    made = make_in_device(uri, algorithm, ask_passphrase)
    sign_once(made)
    return made


def _new_passphrase(path: str) -> bytes:
    first = ask_secret(f"new passphrase for {path}: ")
    if not first:
        raise UsageError("no passphrase was given: there is no terminal to ask on, or the line was empty")
    if ask_secret("the same again: ") != first:
        raise UsageError("the two passphrases differ")
    return first


def _actor(actor_id: str | None) -> dict[str, Any]:
    return {"actor_id": actor_id, "actor_type": "HUMAN"} if actor_id is not None else {}


def _approvals(opened: Log, members: dict[str, Any], paths: list[str] | None) -> dict[str, Any]:
    """The approvals in these files, as a member of the draft. Raises ApprovalRefusedError."""
    from attestlog._internal.cli.approval import with_approvals

    return {"received_approvals": with_approvals(opened, members, paths).received_approvals} if paths else {}


def _show_change(out: Output, receipt: Receipt, facts: dict[str, Any]) -> None:
    out.text(f"{receipt.sequence_number}  {receipt.entry_hash}")
    for name, value in facts.items():
        if name != "public_key":
            out.text(f"{name.replace('_', ' '):<13} {value}")
