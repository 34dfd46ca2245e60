"""`attestlog memory`: what `verify` remembers of the logs it has seen."""

from __future__ import annotations

from typing import Annotated

from attestlog._internal.cli.options import JsonOption, argument
from attestlog._internal.cli.output import Output, notice, print_table
from attestlog._internal.cli.verbs import example, new_group

app = new_group("memory")


@app.command("list", epilog=example("attestlog memory list"))
def list_memory(as_json: JsonOption = False) -> None:
    """List the logs that are remembered: by name, genesis hash and size."""
    from attestlog._internal.places import state_dir
    from attestlog._internal.verifying.memory import Memory, list_memories

    out, rows = Output(as_json), []
    for known in list_memories(state_dir()):
        if not isinstance(known, Memory):
            notice(str(known))
        elif out.as_json:
            members = {"origin": known.origin, "genesis": known.genesis_hash, "size": known.size}
            out.emit("memory", {**members, "checkpoint_size": known.checkpoint_size})
        else:
            rows.append([known.origin, known.genesis_hash[:16], known.size, known.checkpoint_size])
    if not out.as_json:
        print_table(out, ["origin", "genesis", "size", "checkpoint"], rows)


@app.command(epilog=example("attestlog memory forget example.com/agents"))
def forget(
    origin: Annotated[str, argument("ORIGIN", "The log's name.")], as_json: JsonOption = False
) -> None:
    """Forget a log. A tail that was cut off it, or a history that was put in its place, is then not seen.

    For a log that was made a second time under its old name. Where you made no new log, FORKED is evidence:
    keep it.
    """
    from attestlog._internal.places import state_dir
    from attestlog._internal.verifying.memory import forget as forget_origin
    from attestlog.errors import NotFoundError

    folder, out = state_dir(), Output(as_json)
    if not forget_origin(folder, origin):
        raise NotFoundError(f"nothing is remembered of {origin}", path=str(folder))
    if out.as_json:
        out.emit("forgotten", {"origin": origin})
    else:
        out.text(f"forgot {origin}")
