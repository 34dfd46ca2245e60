"""Options and arguments that several verbs share, each described once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

LogArgument = Annotated[str, typer.Argument(metavar="LOG", help="The log's directory.", show_default=False)]

JsonOption = Annotated[bool, typer.Option("--json", help="Result as JSON, one object a line.")]

SignerOption = Annotated[
    str | None,
    typer.Option(metavar="URI", help="Key that signs entries, such as file:PATH; else the one in log.toml."),
]

CheckpointSignerOption = Annotated[
    str | None,
    typer.Option(metavar="URI", help="Ed25519 key that signs checkpoints; else the one in log.toml."),
]

CheckpointPqSignerOption = Annotated[
    str | None,
    typer.Option(metavar="URI", help="ML-DSA-44 key that signs them too; else the one in log.toml."),
]

AnyFilesystemOption = Annotated[
    bool, typer.Option("--any-filesystem", help="Write even on a network file system.")
]

WitnessesOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Trust policy: have its witnesses cosign first."),
]

FailOpenOption = Annotated[bool, typer.Option("--fail-open", help="Go on without the policy's quorum.")]


def text(description: str, *names: str, metavar: str = "TEXT") -> Any:
    """An option that takes a value; without `names`, called as its parameter."""
    return typer.Option(*names, help=description, show_default=False, metavar=metavar)


def flag(description: str, *names: str) -> Any:
    """An option that is there or not, with no `--no-` form."""
    return typer.Option(*names, help=description)


def choice(kind: type[StrEnum], description: str) -> Any:
    """An option that takes one of an enumeration, in any case."""
    return typer.Option(help=description, show_default=False, case_sensitive=False, metavar="|".join(kind))


def json(description: str, *names: str) -> Any:
    """An option that takes a JSON value, `@FILE`, or `-` for stdin."""
    return typer.Option(*names, help=description, show_default=False, metavar="JSON|@FILE|-")
