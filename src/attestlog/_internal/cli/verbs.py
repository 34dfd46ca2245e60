"""Which verbs there are, and how the one that is asked for is loaded. Nothing else is."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_command

from attestlog._internal.version import VERSION

UsageError: Final[type[Exception]] = typer.BadParameter.__bases__[0]
"""What the argument parser raises; typer does not export it."""

SECTIONS: Final[dict[str, dict[str, str]]] = {
    "Start": {
        "demo": "See it work: write a log, verify it, tamper with it, see it caught.",
        "doctor": "Show what this machine offers a log: disk, clock, keys, versions.",
    },
    "Write": {
        "init": "Make a new log.",
        "append": "Append one entry, or many from JSON lines.",
        "propose": "Ask for approval: write a request to a file.",
        "approve": "Show a request, and approve, review or reject it.",
        "policy": "Show or change a log's policy.",
        "erase": "Erase one payload; an entry says so, and why.",
        "hold": "Forbid erasing payloads until further notice.",
        "checkpoint": "Sign the log's head and print the note.",
        "publish": "Lay out the log as static files for any web server.",
        "archive": "Move closed segments elsewhere, or bring them back.",
        "import": "Bring a legacy JSON-lines log into a log.",
        "keys": "Make signing keys, list them, rotate or revoke those of a log.",
    },
    "Read": {
        "show": "Show one entry.",
        "tail": "Show the last entries, and new ones as they come.",
        "query": "Find entries.",
        "stats": "Show figures: rates, sizes, pillars, actors.",
        "export": "Write entries out as JSON lines or CSV.",
        "prove": "Write a proof of one entry, or of consistency, to a file.",
    },
    "Verify": {
        "verify": "Verify a whole log, a proof file, or a legacy JSON-lines file.",
        "verifier": "Print a verifier in one Python file, to run without attestlog.",
        "repair": "Say what is damaged and what can be done about it here.",
    },
    "Distribute": {
        "replicas": "Add, remove and see the replicas a log is sent to.",
        "restore": "Bring a lost log back from a replica.",
        "replica": "Hold verified copies of others' logs, over HTTP.",
        "witness": "Cosign checkpoints of others' logs, over HTTP.",
        "tokens": "Make, list and revoke the bearer tokens of a server.",
    },
}
"""Every verb and its one line, as `attestlog --help` shows them. Each lives in the module of its name."""

VERBS: Final = {name: line for section in SECTIONS.values() for name, line in section.items()}

_EXIT_CODES: Final = (
    "Exit codes: 0 done, VERIFIED; 1 TAMPERED, damaged; 2 usage; 3 MALFORMED; 4 UNKNOWN: could not be"
    " done or told (file, key, device); 5 TRUNCATED or FORKED; 6 INCOMPLETE: torn tail only;"
    " 7 an append's outcome is unknown; 70 a defect in attestlog; 130 interrupted."
)


class Verbs(TyperGroup):
    """A group whose verbs are modules, imported when they are asked for."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """Names, in the order of the help."""
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The verb's command. Raises UsageError, with what was perhaps meant, for an unknown verb."""
        if cmd_name not in VERBS:
            close = get_close_matches(cmd_name, VERBS, n=1)
            ctx.fail(f"no verb {cmd_name!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
        module = import_module(
            f"attestlog._internal.cli.{cmd_name}_"
            if cmd_name == "import"
            else f"attestlog._internal.cli.{cmd_name}"
        )
        return get_command(module.app)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """The verbs by section, without importing any."""
        for section, verbs in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl(list(verbs.items()))


def new_app(**options: Any) -> typer.Typer:
    """A typer app as every verb has it: plain help, no completion options, no hooks of its own."""
    return typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        **options,
    )


def example(*lines: str) -> str:
    """An epilog with an example that can be pasted."""
    return "\n".join(["\b", "Example:", *(f"  {line}" for line in lines)])


root: Final = new_app(cls=Verbs, subcommand_metavar="VERB …", no_args_is_help=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"attestlog {VERSION}")
        raise typer.Exit


@root.callback(epilog=_EXIT_CODES, invoke_without_command=True)
def attestlog(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """An append-only, signed log of what people and AI agents did, that anyone can verify.

    New here? `attestlog demo` shows all of it in a few seconds.
    """
    del version
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def run(arguments: Sequence[str]) -> int:
    """Parse and run; returns the exit code. What goes wrong is raised."""
    command: Any = get_command(root)
    try:
        with command.make_context("attestlog", list(arguments)) as context:
            command.invoke(context)
    except typer.Exit as exited:
        return exited.exit_code
    return 0
