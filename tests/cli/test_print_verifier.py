"""print-verifier: the verifier in one file."""

import subprocess
import sys
from pathlib import Path

from tests.cli.running import Run

from attestlog._internal.verifier import source


def test_the_one_file_verifier_is_handed_out(run: Run, log: Path, tmp_path: Path, vkey: str) -> None:
    shown = run("print-verifier")
    assert (shown.code, shown.out) == (0, source())
    assert run("print-verifier", "--json").object == {"type": "verifier", "source": source()}
    script = tmp_path / "verify.py"
    script.write_text(shown.out, encoding="utf-8")
    command = [sys.executable, "-I", str(script), str(log), "--trust", vkey]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "VERIFIED")
