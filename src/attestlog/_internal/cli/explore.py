"""`attestlog explore`: a page in the browser that shows a log, and checks it there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from attestlog._internal.cli import options
from attestlog._internal.cli.opening import catch_up
from attestlog._internal.cli.options import flag, text
from attestlog._internal.cli.output import Output
from attestlog._internal.cli.verbs import UsageError, example, new_app

app = new_app()


@app.command(epilog=example("attestlog explore audit"))
def explore(
    log: options.LogArgument,
    *,
    port: Annotated[int, text("Port on loopback; default: a free one.", metavar="N")] = 0,
    directory: Annotated[
        Path | None,
        text(
            "Directory of the log's service, for requests; default: in this user's state directory.",
            metavar="DIR",
        ),
    ] = None,
    no_browser: Annotated[bool, flag("Only print the address.", "--no-browser")] = False,
    as_json: options.JsonOption = False,
) -> None:
    """Show a log in the browser: timeline, entries, governance, keys, figures; until it is interrupted.

    It listens on 127.0.0.1 only, reads the log and writes nothing to it. The page checks entries in the
    browser, under the verifier key that you paste. Needs the extra `server`.
    """
    import secrets
    import webbrowser

    from attestlog._internal.server import check_extra

    check_extra()
    from attestlog._internal.explorer.answering import Explorer
    from attestlog._internal.places import state_dir
    from attestlog._internal.server.asked import Asked
    from attestlog._internal.server.explorer import explorer_app, waiting_requests
    from attestlog._internal.server.running import Listen, serve
    from attestlog._internal.storage.resolve import open_source

    if not 0 <= port <= 65_535:
        raise UsageError("--port is from 0 to 65535")
    source, secret, out = open_source(log), secrets.token_hex(16), Output(as_json)
    asked = Asked(directory or state_dir() / "service")
    explorer = Explorer(source, lambda most: waiting_requests(asked, source.genesis().entry_hash, most))
    catch_up(log)

    def started(url: str) -> None:
        address = f"{url}/{secret}/"
        if out.as_json:
            out.emit("explorer", {"url": address})
        else:
            out.text(f"explorer   {address}")
        out.flush()
        if not no_browser:
            webbrowser.open(address)

    serve(explorer_app(explorer, secret), Listen(port=port), started=started)
