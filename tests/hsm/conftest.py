"""A token of its own for each test, and no library left loaded by the one before."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.tokens import PIN, RemoteToken, SoftToken, p11_kit_client, softhsm, unload

from attestlog._internal.core.signature import ECDSA_P256, ED25519
from attestlog._internal.signers import pkcs11_module
from attestlog._internal.signers.pkcs11 import make_pkcs11_key


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoftToken]:
    """An initialised token without keys; its PIN is in the environment."""
    made = SoftToken(tmp_path / "softhsm", softhsm())
    made.initialise()
    use(made, tmp_path, monkeypatch)
    yield made
    unload()


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> SoftToken:
    """A token with P-256 keys `entries` and `other`, and an Ed25519 key `checkpoints`; to be copied."""
    made = SoftToken(tmp_path_factory.mktemp("softhsm"), softhsm())
    made.initialise()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (*made.environment.items(), ("ATTESTLOG_PIN", PIN)):
            patch.setenv(name, value)
        for label, algorithm in (("entries", ECDSA_P256), ("other", ECDSA_P256), ("checkpoints", ED25519)):
            make_pkcs11_key(made.uri(label), algorithm).close()
    return made


@pytest.fixture
def keys(made_once: SoftToken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoftToken]:
    """A token of its own with these keys."""
    made = SoftToken(tmp_path / "softhsm", made_once.module)
    made.copy_of(made_once)
    use(made, tmp_path, monkeypatch)
    yield made
    unload()


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


def use(made: SoftToken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process see the token and no other, its PIN in the environment."""
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ATTESTLOG_PIN", PIN)
    monkeypatch.setenv("ATTESTLOG_HOME", str(tmp_path / "home"))
    monkeypatch.delenv(pkcs11_module.MODULE_VARIABLE, raising=False)
