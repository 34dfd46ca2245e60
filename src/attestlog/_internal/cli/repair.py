"""`attestlog repair`: show what is damaged and what can be done about it here, and do it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from attestlog._internal.cli import options
from attestlog._internal.cli.output import Bar, Output, hint, notice
from attestlog._internal.cli.verbs import example, new_app

if TYPE_CHECKING:
    from attestlog._internal.core.report import Finding

app = new_app()


@app.command(epilog=example("attestlog repair audit", "attestlog repair audit --yes"))
def repair(
    log: options.LogArgument,
    *,
    yes: Annotated[bool, options.flag("Do the repairs.", "--yes")] = False,
    any_filesystem: options.AnyFilesystemOption = False,
    as_json: options.JsonOption = False,
) -> None:
    """Verify a log, show what is damaged and what can be repaired here; with --yes, repair it.

    Only what is derived from the entries (the stored tree) or was never acknowledged (a torn tail) can
    be repaired here. Damaged or missing entries can only come back from a copy; then nothing is changed. Exit
    code 6 means that --yes would repair it.
    """
    from attestlog._internal.repairing import beyond_repair, plan_fixes, repair_log
    from attestlog._internal.verifying import judge_log

    with Bar("verifying") as bar:
        report = judge_log(log, progress=bar)
    fixes, beyond = plan_fixes(report), beyond_repair(report)
    if fixes and yes and not beyond:
        for what in repair_log(log, fixes, any_filesystem=any_filesystem):
            notice(what)
        with Bar("verifying again") as bar:
            report = judge_log(log, progress=bar)
        beyond = beyond_repair(report)
    done = yes and not beyond
    out, code = Output(as_json), _exit_code(beyond, is_waiting=bool(fixes) and not done)
    if out.as_json:
        out.emit("repair", {
            "verdict": report.verdict, "fixes": fixes, "done": done and bool(fixes), "beyond_repair": beyond,
            "exit_code": code,
        })  # fmt: skip
    else:
        _show(out, fixes, beyond, done=done)
    if _are_archived(beyond):
        hint("attestlog archive restore LOG brings archived segments back")
    elif beyond:
        hint("keep this copy as it is, it is evidence; put a good copy in another place and verify that")
    raise typer.Exit(code)


def _are_archived(beyond: list[Finding]) -> bool:
    """Whether nothing is wrong except that segments are elsewhere."""
    return bool(beyond) and all(fault.code == "segment.absent" for fault in beyond)


def _exit_code(beyond: list[Finding], *, is_waiting: bool) -> int:
    from attestlog._internal.cli import exits
    from attestlog._internal.core.report import GRAVITY

    if beyond:
        return exits.BY_VERDICT[max((fault.verdict for fault in beyond), key=GRAVITY.index)]
    return exits.INCOMPLETE if is_waiting else exits.DONE


def _show(out: Output, fixes: list[str], beyond: list[Finding], *, done: bool) -> None:
    from attestlog._internal.cli.reports import show_faults
    from attestlog._internal.repairing import DESCRIPTIONS

    if beyond:
        cause = (
            "Archived segments are not here"
            if _are_archived(beyond)
            else "Only another copy of the log can repair this"
        )
        out.text((f"{cause}; nothing was changed:", "bold red"))
        show_faults(out, beyond, 0)
    elif not fixes:
        out.text("nothing to repair")
    for fix in fixes if not beyond else ():
        out.text(("done: ", "green") if done else ("would: ", "yellow"), DESCRIPTIONS[fix])
    if fixes and not beyond and not done:
        hint("--yes does it")
