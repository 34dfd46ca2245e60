"""The vector files as tests read them."""

import json
from pathlib import Path
from typing import Any

from tests.vectors.make import FOLDER, MAKERS

from attestlog._internal.storage.files import layout

Case = dict[str, Any]
NAMES = [maker.__name__ for maker in MAKERS]


def document(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return loaded


CASES = {name: document(name)["cases"] for name in NAMES}


def lay_out(root: Path, case: Case) -> None:
    good = CASES["log"][0]
    lines = [good["lines"][line] if isinstance(line, int) else line for line in case["lines"]]
    (root / layout.ENTRIES_DIR).mkdir(parents=True)
    (root / layout.TREE_DIR).mkdir()
    (root / layout.ENTRIES_DIR / layout.segment_name(0)).write_text("".join(f"{line}\n" for line in lines))
    (root / layout.CHECKPOINT_FILE).write_text(case.get("checkpoint", good["checkpoint"]))
