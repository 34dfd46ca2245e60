"""Which verbs there are, and how the one that was called is loaded. No other verb is loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from copy import copy
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_command

from attestlog._internal.core.canonical import INTEGER_MAX
from attestlog._internal.core.convert import read_number
from attestlog._internal.version import VERSION

UsageError: Final[type[Exception]] = typer.BadParameter.__bases__[0]
"""What the argument parser raises; typer does not export it."""

SECTIONS: Final[dict[str, dict[str, str]]] = {
    "Start": {
        "demo": "See it work: write a log, verify it, tamper with it, see it caught.",
        "doctor": "Check this machine for a log: disk, clock, keys, versions.",
        "postgres": "Print or make the schema of a database for logs.",
    },
    "Write": {
        "init": "Make a new log.",
        "append": "Append one entry, or many from JSON lines.",
        "configure": "Say where a log's keys are on this machine.",
        "adopt": "Remember a log as it stands, on a machine that knows nothing of it.",
        "checkpoint": "Sign the log's head and print the note.",
        "publish": "Write the log as static files for any web server.",
        "import": "Bring a legacy JSON-lines log into a log.",
        "archive": "Move closed segments elsewhere, or bring them back.",
    },
    "Govern": {
        "policy": "Show or change a log's policy.",
        "approval": "Request, show and sign approvals.",
        "keys": "Make and list signing keys; rotate, admit or revoke those of a log.",
        "erase": "Erase payloads; a new entry records who did it and why.",
        "retain": "Erase payloads that are older than they are kept; for a timer.",
        "hold": "Forbid erasing payloads until the hold is released.",
    },
    "Read": {
        "show": "Show one entry.",
        "tail": "Show the last entries, and new ones as they come.",
        "query": "Find entries.",
        "explore": "Show a log in the browser, and check entries there.",
        "stats": "Show figures: rates, sizes, pillars, actors.",
        "export": "Write entries in a form that other tools read.",
        "bundle": "Write entries with all that it takes to check them, in one file.",
        "report": "Write a report for people, in one HTML file that checks itself.",
        "prove": "Write a proof of one entry, or of consistency, to a file.",
    },
    "Verify": {
        "verify": "Verify a log, a proof, an exported file or a legacy file.",
        "memory": "List or forget what verify remembers of logs.",
        "print-verifier": "Print the one-file verifier, which needs no attestlog.",
        "repair": "Show what is damaged, and repair what can be repaired.",
    },
    "Copy": {
        "move": "Move a log between a directory and PostgreSQL.",
        "copy": "Copy a log, also while others write to it.",
        "replica": "Choose the replicas of a log, and see how far their copies are.",
        "ship": "Send entries to another system as they are committed.",
        "restore": "Bring a lost log back from a replica.",
    },
    "Serve": {
        "serve": "Run a replica or a witness for other people's logs, over HTTP.",
        "tokens": "Make, list and revoke the bearer tokens of a replica.",
        "evidence": "Show the split views that a replica or witness has seen.",
    },
}
"""Every verb and its one line, as `attestlog --help` shows them. Each lives in the module of its name."""

VERBS: Final = {name: line for section in SECTIONS.values() for name, line in section.items()}

_EXIT_CODES: Final = (
    "Exit codes: 0 done, VERIFIED; 1 TAMPERED, damaged; 2 usage; 3 MALFORMED; 4 UNKNOWN: could not be"
    " done or decided (file, key, device); 5 TRUNCATED or FORKED; 6 INCOMPLETE: torn tail only;"
    " 7 an append's outcome is unknown; 70 a defect in attestlog; 130 interrupted."
)


def module_of(verb: str) -> str:
    """The module that holds a verb's app: `print-verifier` in `print_verifier`, `import` in `import_`."""
    name = "import_" if verb == "import" else verb.replace("-", "_")
    return f"attestlog._internal.cli.{name}"


class Verbs(TyperGroup):
    """A group whose verbs are modules, imported when they are called."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """Names, in the order of the help."""
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The verb's command. Raises UsageError for an unknown verb, with the nearest one there is."""
        if cmd_name not in VERBS:
            close = get_close_matches(cmd_name, VERBS, n=1)
            ctx.fail(f"no verb {cmd_name!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
        return _strict(get_command(import_module(module_of(cmd_name)).app))

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """The verbs by section, without importing any."""
        for section, verbs in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl(list(verbs.items()))


def _strict(command: Any) -> Any:
    """The command, and those under it, taking numbers in one spelling and each value once.

    The parser takes what Python's `int` takes, of any length, and of a repeated option the last value: an
    erasure of entry 1_1 erased entry 11, and a filter given twice was asked once.
    """
    for inner in getattr(command, "commands", {}).values():
        _strict(inner)
    for parameter in command.params:
        if parameter.type.name.startswith("int"):
            parameter.type = copy(parameter.type)
            parameter.type.convert = partial(_convert_number, parameter.type.convert)
    command.make_parser = partial(_make_parser, command.make_parser)
    return command


def _convert_number(convert: Any, value: Any, parameter: Any, context: Any) -> Any:
    if isinstance(value, str) and read_number(value) is None:
        raise typer.BadParameter(
            f"{value[:40]!r} is not a number: want decimal digits, at most {INTEGER_MAX}",
            ctx=context, param=parameter,
        )  # fmt: skip
    return convert(value, parameter, context)


def _make_parser(make: Any, context: Any) -> Any:
    parser = make(context)
    parse_args = parser.parse_args

    def parse(args: list[str]) -> Any:
        options, rest, order = parse_args(args)
        counts = Counter(parameter for parameter in order if parameter.param_type_name == "option")
        for option, count in counts.items():
            if count > 1 and not (option.multiple or option.is_flag):
                raise typer.BadParameter(f"is given {count} times", ctx=context, param=option)
        return options, rest, order

    parser.parse_args = parse
    return parser


def new_app(**options: Any) -> typer.Typer:
    """A typer app as every verb has it: plain help, no completion options, no hooks of its own."""
    return typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        **options,
    )


def new_group(verb: str) -> typer.Typer:
    """The app of a verb that has commands of its own, such as `keys list`."""
    return new_app(help=VERBS[verb], no_args_is_help=False)


def example(*lines: str) -> str:
    """An epilog with an example that can be pasted."""
    return "\n".join(["\b", "Example:", *(f"  {line}" for line in lines)])


root: Final = new_app(cls=Verbs, subcommand_metavar="VERB …", no_args_is_help=False)


def _print_version(wanted: bool) -> None:
    if wanted:
        from attestlog._internal.native import loading

        typer.echo(f"attestlog {VERSION}\nnative core: {loading.loaded().what}")
        raise typer.Exit


@root.callback(epilog=_EXIT_CODES, invoke_without_command=True)
def attestlog(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("-V", "--version", callback=_print_version, is_eager=True, help="Show the version."),
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
