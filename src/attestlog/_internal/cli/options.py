"""Options and arguments that several verbs share, each described once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer


def text(description: str, *names: str, metavar: str = "TEXT") -> Any:
    """An option that takes a value; without `names`, called as its parameter."""
    return typer.Option(*names, help=description, show_default=False, metavar=metavar)


def flag(description: str, *names: str) -> Any:
    """An option that is given or not, with no `--no-` form."""
    return typer.Option(*names, help=description)


def choice(kind: type[StrEnum], description: str) -> Any:
    """An option that takes one of an enumeration, in any case."""
    return typer.Option(help=description, show_default=False, case_sensitive=False, metavar="|".join(kind))


def json(description: str, *names: str) -> Any:
    """An option that takes a JSON value, `@FILE`, or `-` for stdin."""
    return typer.Option(*names, help=description, show_default=False, metavar="JSON|@FILE|-")


def argument(metavar: str, description: str) -> Any:
    """An argument, named in the help as `metavar`."""
    return typer.Argument(metavar=metavar, help=description, show_default=False)


LogArgument = Annotated[str, argument("LOG", "The log's directory.")]

JsonOption = Annotated[bool, flag("Write JSON Lines instead of text.", "--json")]

SignerOption = Annotated[
    str | None, text("Key that signs entries, such as file:PATH; default: as configured.", metavar="URI")
]

CheckpointSignerOption = Annotated[
    str | None, text("Ed25519 key that signs checkpoints; default: as configured.", metavar="URI")
]

CheckpointPqSignerOption = Annotated[
    str | None, text("ML-DSA-44 key that signs checkpoints too; default: as configured.", metavar="URI")
]

AnyFilesystemOption = Annotated[bool, flag("Write even on a network file system.", "--any-filesystem")]

WitnessesOption = Annotated[
    Path | None, text("Trust policy: have its witnesses cosign first.", metavar="FILE")
]

FailOpenOption = Annotated[
    bool, flag("Proceed even if the quorum of witnesses is not reached.", "--fail-open")
]

ActorOption = Annotated[str, text("Name or id of the person who does this.", "--actor-id", metavar="ID")]

ReasonOption = Annotated[str, text("Why; the log keeps this text.", "--reason")]

ApprovalOption = Annotated[
    list[str] | None,
    text("An approval, from `attestlog approval sign`; repeatable.", "--approval", metavar="FILE"),
]

RequestApprovalOption = Annotated[
    Path | None,
    text("Only write a request for approval to FILE; change nothing.", "--request-approval", metavar="FILE"),
]

OutputOption = Annotated[
    Path | None,
    text("File to write, whole or not at all; default: stdout.", "-o", "--output", metavar="FILE"),
]
