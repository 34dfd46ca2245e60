"""`attestlog demo`: what a log is good for, in a few seconds."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from attestlog.cli import options
from attestlog.cli.output import Output
from attestlog.cli.verbs import example, new_app

if TYPE_CHECKING:
    from attestlog.cli.demo_steps import Demo

app = new_app()


@app.command(epilog=example("attestlog demo"))
def demo(as_json: options.JsonOption = False) -> None:
    """Write a log, verify it, tamper with it in two ways and see both caught; then prove one entry offline.

    All in a new temporary folder, which is kept, with keys of its own. Every verdict shown is the
    verifier's own, on that log.
    """
    from attestlog.cli.demo_steps import Demo

    out = Output(as_json)
    shown = Demo(Path(tempfile.mkdtemp(prefix="attestlog-demo-")))
    if out.as_json:
        steps = [{"step": step.name, "title": step.title, **step.facts} for step in shown.steps()]
        paths = {
            "folder": shown.folder,
            "home": shown.home,
            "log": shown.log,
            "check": shown.folder / "check.py",
        }
        out.emit("demo", {**{name: str(path) for name, path in paths.items()}, "steps": steps})
        return
    out.text(
        ("attestlog", "bold"), " records what people and AI agents did, so that nobody can change it unseen."
    )
    for number, step in enumerate(shown.steps(), 1):
        out.text()
        out.text((f"{number}  {step.title}", "bold"))
        for line in step.lines:
            out.text("   ", *line)
        out.flush()
    _say_what_next(out, shown)


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
