"""A token of its own for each test, and no library left loaded by the one before."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.tokens import PIN, RemoteToken, SoftToken, p11_kit_client, softhsm

from attestlog.core.signature import ECDSA_P256, ED25519
from attestlog.signers import pkcs11_module
from attestlog.signers.pkcs11 import make_pkcs11_key


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoftToken]:
    """An initialised token without keys; its PIN is in the environment."""
    made = SoftToken(tmp_path / "softhsm", softhsm())
    made.initialise()
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ATTESTLOG_PIN", PIN)
    monkeypatch.setenv("ATTESTLOG_HOME", str(tmp_path / "home"))
    monkeypatch.delenv(pkcs11_module.MODULE_VARIABLE, raising=False)
    yield made
    unload()


@pytest.fixture
def keys(token: SoftToken) -> SoftToken:
    """The token, with P-256 keys `entries` and `other`, and an Ed25519 key `checkpoints`."""
    for label, algorithm in (("entries", ECDSA_P256), ("other", ECDSA_P256), ("checkpoints", ED25519)):
        make_pkcs11_key(token.uri(label), algorithm).close()
    return token


@pytest.fixture
def remote(keys: SoftToken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RemoteToken]:
    """The same keys behind a process that can be stopped and killed."""
    made = RemoteToken(keys, tmp_path / "p11.sock", p11_kit_client())
    made.start()
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    yield made
    if made.process is not None:
        made.kill()
    unload()


def unload() -> None:
    """Whatever a failing test has left open: the next one has another token."""
    for module in pkcs11_module._modules.values():
        module.tokens.clear()
        module.let_go(10)
