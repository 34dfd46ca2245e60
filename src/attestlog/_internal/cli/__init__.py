"""The command line: `attestlog VERB …`. The only room that knows argv, stdout and exit codes.

One file a verb or noun, loaded when it is called, so that a small verb starts
fast and `--help` loads no writer: verbs import what they need inside. `verbs`
lists them, `options` are what they share, `exits` has the exit codes and hints,
`output` says what goes to stdout and stderr.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import sys
from collections.abc import Sequence

from attestlog.errors import AttestlogError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns its exit code. Never a traceback for a failure that has a name."""
    from attestlog._internal.cli import exits, output
    from attestlog._internal.cli.verbs import UsageError, run

    arguments = list(sys.argv[1:] if argv is None else argv)
    failed = output.failure if "--json" not in arguments else output.json_failure
    _survive_any_character()
    _leave_no_core()
    try:
        code = run(arguments)
        sys.stdout.flush()
    except UsageError as error:
        failed("usage", _one_line(error), exits.usage_hint(error), {})
        return exits.USAGE
    except BrokenPipeError:
        _leave_stdout()
        return exits.BROKEN_PIPE
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except AttestlogError as error:
        failed(error.code, str(error), exits.hint(error), error.evidence())
        return exits.exit_code(error)
    except OSError as error:
        failed("os", f"{error.filename or 'stdin or stdout'}: {error.strerror}", None, {"errno": error.errno})
        return exits.UNKNOWN
    except Exception:  # noqa: BLE001
        # A defect of ours must not leave with Python's own 1, which would say TAMPERED.
        sys.excepthook(*sys.exc_info())
        return exits.DEFECT
    return code


def _one_line(error: Exception) -> str:
    """The parser lists the choices of an option on a line of their own each."""
    message: str = error.format_message()  # type: ignore[attr-defined]
    return re.sub(r"(?<=[:,])\n\t", " ", message)


def _survive_any_character() -> None:
    """A terminal or locale that cannot show a character gets its escape, not a crash."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _leave_no_core() -> None:
    """A core file would hold what a passphrase or PIN opened, and these themselves."""
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def _leave_stdout() -> None:
    """The reader has gone: what is still buffered must not be written when the interpreter ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
