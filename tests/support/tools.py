"""Programs of this machine that tests run. A test asks for each one it uses, by `tool` or through a helper.

Where a program is missing the test is skipped, and in CI it fails: nothing is left out there unseen.
"""

import importlib
import os
import re
import shutil
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest

PACKAGES: Final = {
    "bash": "bash",
    "dbus-run-session": "dbus",
    "git": "git",
    "ip": "iproute2",
    "jq": "jq",
    "mount": "mount",
    "openssl": "openssl",
    "p11-kit": "p11-kit p11-kit-modules",
    "pkcs11-tool": "opensc",
    "setpriv": "util-linux",
    "softhsm2-util": "softhsm2",
    "ssh-add": "openssh-client",
    "ssh-agent": "openssh-client",
    "ssh-keygen": "openssh-client",
    "strace": "strace",
    "swtpm": "swtpm",
    "tc": "iproute2",
    "tpm2-abrmd": "tpm2-abrmd",
    "tpm2_ptool": "libtpm2-pkcs11-tools tpm2-tools",
    "umount": "mount",
}
"""Program → the Debian packages that bring it."""


def tool(name: str) -> str:
    """The path of a program."""
    path = shutil.which(name)
    return path or missing(f"{name} is not installed: apt-get install {PACKAGES[name]}")


def tools_in(script: str) -> None:
    """Ask for every program above that a shell script names."""
    for name in PACKAGES:
        if re.search(rf"(?<![\w./-]){re.escape(name)}(?![\w-])", script):
            tool(name)


def library(name: str, package: str) -> Path:
    """A shared library below /usr, such as `pkcs11/p11-kit-client.so`."""
    found = [
        path for folder in sorted(Path("/usr").glob("lib*")) for path in sorted(folder.glob(f"**/{name}"))
    ]
    return found[0] if found else missing(f"{name} is not installed: apt-get install {package}")


def extra(module: str) -> Any:
    """A module that an extra of the package installs."""
    try:
        return importlib.import_module(module)
    except ImportError:
        missing(f"needs {module}: make test installs it")


def root(why: str) -> None:
    """Ask to be root."""
    if os.geteuid() != 0:
        missing(f"needs root: {why}")


def missing(why: str) -> NoReturn:
    """Skip the test, in CI fail it."""
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)
