"""A report for people: one HTML file with entries, their proofs and the verifier in it, which checks itself.

    <!doctype html>
    <!-- attestlog report: … -->
    … <script type="text/plain" id="bundle">BASE64</script> <script>CODE</script>

Everything a reader sees is drawn by the code from entries that it checked first. The file's own content
security policy names the SHA-256 of the code and of the style, and the code names that of the bundle: with a
byte changed in any of them the browser runs nothing, or the page says so. It asks nobody for anything.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

STATIC: Final = Path(__file__).with_name("static")

REPORT_MODULES: Final = ("verify", "bundle", "draw", "report")
CHECKER_MODULES: Final = ("verify", "bundle", "draw", "file", "alone")
"""In the order in which they need each other."""

_EXPORT: Final = re.compile(r"^export (?:async )?(?:const|function|class) (\w+)", re.MULTILINE)
_IMPORT_ALL: Final = re.compile(r'^import \* as (\w+) from "\./(\w+)\.mjs";$', re.MULTILINE)
_IMPORT: Final = re.compile(r'^import (\{[^}]*\}) from "\./(\w+)\.mjs";$', re.MULTILINE)

_PAGE: Final = """\
<!doctype html>
<!-- attestlog {what} -->
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src '{script}'; \
style-src '{style}'; base-uri 'none'; form-action 'none'">
<title>attestlog</title><style>{css}</style></head>
<body><main id="app"><div id="verdict" class="verdict unknown" data-verdict="unknown">\
<p class="verdict-title">Not checked</p><p>The code in this file did not run, or was changed: nothing \
here was checked. <code>attestlog verify FILE --trust KEY</code> checks without it.</p></div></main>
{data}<script>{code}</script></body></html>
"""


def format_report(bundle: bytes) -> bytes:
    """The page around a bundle: see `core.bundle`."""
    encoded = b64encode(bundle).decode()
    code = read_code(REPORT_MODULES).replace("@DIGEST@", sha256(encoded.encode()).hexdigest())
    data = f'<script type="text/plain" id="bundle">{encoded}</script>\n'
    return _page("report: open it in a browser, or: attestlog verify FILE --trust KEY", code, data)


def format_checker() -> bytes:
    """The verifier for browsers in one file, on which proofs, bundles and reports are dropped."""
    return _page("checker: open it in a browser and drop files on it", read_code(CHECKER_MODULES))


def _page(what: str, code: str, data: str = "") -> bytes:
    css = (STATIC / "style.css").read_text(encoding="utf-8")
    page = _PAGE.format(what=what, script=_source(code), style=_source(css), css=css, data=data, code=code)
    return page.encode()


def read_code(modules: Sequence[str]) -> str:
    """The modules as one script: each a function of its own, so that no name of one is another's."""
    parts = [_wrapped(name, (STATIC / f"{name}.mjs").read_text(encoding="utf-8")) for name in modules]
    return '"use strict";\n' + "".join(parts)


def _wrapped(name: str, text: str) -> str:
    exported = ", ".join(_EXPORT.findall(text))
    text = _IMPORT.sub(r"const \1 = \2_mjs;", _IMPORT_ALL.sub(r"const \1 = \2_mjs;", text))
    text = re.sub(r"^export ", "", text, flags=re.MULTILINE)
    return f"const {name}_mjs = (() => {{\n{text}return {{ {exported} }};\n}})();\n"


def _source(text: str) -> str:
    """How a content security policy names an inline script or style."""
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"
