"""A second, different PKCS#11 library: tpm2-pkcs11 over a TPM 2.0 in software."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.repository import ROOT
from tests.support.tools import library, tool


def test_a_log_signed_by_a_tpm(tmp_path: Path) -> None:
    """Its library crashes under threads too, its ids are text, its keys are made with its own tool."""
    for name in ("swtpm", "tpm2-abrmd", "tpm2_ptool"):
        tool(name)
    module = library("libtpm2_pkcs11.so*", "libtpm2-pkcs11-1")
    (tmp_path / "tpm").mkdir()
    environment = {**os.environ, "ATTESTLOG_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [tool("dbus-run-session"), "--", sys.executable, "-m", "tests.hsm.in_a_tpm", tmp_path / "tpm",
         module],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("signed by a TPM\n")
