"""`attestlog demo`: what a log is good for, in a few seconds."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from attestlog._internal.cli import options
from attestlog._internal.cli.output import Output
from attestlog._internal.cli.verbs import example, new_app

if TYPE_CHECKING:
    from attestlog._internal.cli.demo_steps import Demo, Step

app = new_app()


@app.command(epilog=example("attestlog demo", "attestlog demo --replicas"))
def demo(
    replicas: Annotated[bool, options.flag("With three replicas and two witnesses.", "--replicas")] = False,
    as_json: options.JsonOption = False,
) -> None:
    """Write a log, verify it, tamper with it in two ways and see both caught; then prove one entry offline.

    All in a new temporary folder, which is kept, with keys of its own. Every verdict shown is the
    verifier's own, on that log. --replicas shows copies under other keys instead: one is killed, one cut
    off, one lies, the log's own key holder rewrites it, and at last it is lost and restored.
    """
    out = Output(as_json)
    if replicas:
        from attestlog._internal.cli.demo_replicas import ReplicatedDemo
        from attestlog._internal.server import check_extra

        check_extra()
        folder = Path(tempfile.mkdtemp(prefix="attestlog-demo-"))
        replicated = ReplicatedDemo(folder)
        if out.as_json:
            emit_steps(
                out, {"folder": folder, "home": replicated.home, "log": replicated.log}, replicated.steps()
            )
        else:
            show_steps(out, replicated.steps())
            out.text()
            out.text((f"All of it is in {folder}.", "bold"))
        return
    from attestlog._internal.cli.demo_steps import Demo

    shown = Demo(Path(tempfile.mkdtemp(prefix="attestlog-demo-")))
    if out.as_json:
        paths = {
            "folder": shown.folder,
            "home": shown.home,
            "log": shown.log,
            "check": shown.folder / "check.py",
        }
        emit_steps(out, paths, shown.steps())
        return
    out.text(
        ("attestlog", "bold"), " records what people and AI agents did, so that nobody can change it unseen."
    )
    show_steps(out, shown.steps())
    _say_what_next(out, shown)


def emit_steps(out: Output, paths: dict[str, Path], steps: Iterable[Step]) -> None:
    """One object with what every step came to."""
    told = [{"step": step.name, "title": step.title, **step.facts} for step in steps]
    out.emit("demo", {**{name: str(path) for name, path in paths.items()}, "steps": told})


def show_steps(out: Output, steps: Iterable[Step]) -> None:
    """Each as it happens."""
    for number, step in enumerate(steps, 1):
        out.text()
        out.text((f"{number}  {step.title}", "bold"))
        for line in step.lines:
            out.text("   ", *line)
        out.flush()


def _say_what_next(out: Output, shown: Demo) -> None:
    where = shlex.quote(str(shown.log))
    out.text()
    out.text((f"All of it is in {shown.folder}. Go on from here:", "bold"))
    for command in (
        f"export ATTESTLOG_HOME={shlex.quote(str(shown.home))}",
        f"attestlog tail {where}",
        f"attestlog show {where} 5",
        f"attestlog append {where} --event-type ACTION --action-type hello --actor-id me",
        f"attestlog verify {where} --trust {shown.vkey}",
        f"attestlog verify {shlex.quote(str(shown.proof))} --trust {shown.vkey}",
        "attestlog --help",
    ):
        out.text("   ", (command, "cyan"))
