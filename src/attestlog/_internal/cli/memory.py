"""`attestlog memory`: what `verify` remembers of the logs it has seen."""

from __future__ import annotations

from typing import Annotated

from attestlog._internal.cli.options import JsonOption, argument, flag
from attestlog._internal.cli.output import Output, notice, print_table
from attestlog._internal.cli.verbs import example, new_group

app = new_group("memory")


@app.command("list", epilog=example("attestlog memory list", "attestlog memory list --signed"))
def list_memory(
    *,
    signed: Annotated[bool, flag("List what was signed here instead.", "--signed")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the logs that were verified here: by name, genesis hash and size.

    With --signed, those that are written here: how many entries were acknowledged, and how many a checkpoint
    was signed over.
    """
    from attestlog._internal.last_signed import LastSigned, list_signed
    from attestlog._internal.places import state_dir
    from attestlog._internal.verifying.memory import Memory, list_memories

    out, rows = Output(as_json), []
    for known in list_signed(state_dir()) if signed else list_memories(state_dir()):
        if isinstance(known, Memory):
            which = {"origin": known.origin, "genesis": known.genesis_hash}
            size, checkpoint_size = known.size, known.checkpoint_size
        elif isinstance(known, LastSigned):
            which = {"origin": known.names.origin, "genesis": known.names.genesis}
            size, checkpoint_size = known.acknowledged, known.checkpoint.size
        else:
            notice(str(known))
            continue
        if out.as_json:
            members = {**which, "size": size, "checkpoint_size": checkpoint_size}
            out.emit("signed", members) if signed else out.emit("memory", members)
        else:
            rows.append(
                [
                    which["origin"],
                    which["genesis"] if signed else which["genesis"][:16],
                    size,
                    checkpoint_size,
                ]
            )
    if not out.as_json:
        print_table(out, ["origin", "genesis", "size", "checkpoint"], rows)


@app.command(epilog=example("attestlog memory forget example.com/agents"))
def forget(
    origin: Annotated[str, argument("ORIGIN", "The log's name; with --signed its genesis hash.")],
    *,
    signed: Annotated[bool, flag("Forget what was signed last, of a log that is gone.", "--signed")] = False,
    as_json: JsonOption = False,
) -> None:
    """Forget a log. A tail that was cut off it, or a history that was put in its place, is then not seen.

    For a log that was made a second time under its old name. Where you made no new log, FORKED is evidence:
    keep it. With --signed, an older copy of that log could be opened and written here again.
    """
    from attestlog._internal.last_signed import forget as forget_signed
    from attestlog._internal.places import state_dir
    from attestlog._internal.verifying.memory import forget as forget_origin
    from attestlog.errors import NotFoundError

    folder, out = state_dir(), Output(as_json)
    if not (forget_signed if signed else forget_origin)(folder, origin):
        raise NotFoundError(f"nothing is remembered of {origin}", path=str(folder))
    if out.as_json:
        out.emit("forgotten", {"origin": origin})
    else:
        out.text(f"forgot {origin}")
