"""Keys and rules on many hosts: what one of them changes is in force in the next turn of all."""

from pathlib import Path

import pytest
from tests.support.logs import draft
from tests.support.postgres import PostgresServer

import attestlog
from attestlog._internal.configuring import configure_log
from attestlog.errors import ErasureRefusedError, WrongKeyError
from attestlog.testing import MemorySigner, check_log


@pytest.fixture
def url(postgres: PostgresServer, own_home: Path) -> str:
    assert own_home.parent.is_dir()
    return postgres.new_url(user="app")


def test_a_shared_key_is_rotated_without_a_restart(url: str) -> None:
    """Both hosts' configurations are one here, as they are with a URI that stands in all of them."""
    attestlog.create(url, origin="example.com/shared").close()
    with attestlog.open(url) as one, attestlog.open(url) as other:
        receipts = [one.append(draft(1)), other.append(draft(2))]
        receipts.append(one.rotate_key())
        receipts += [other.append(draft(3)), one.append(draft(4))]
        old, new = receipts[0].entry.signing_key_id, receipts[4].entry.signing_key_id
        assert [receipt.entry.signing_key_id for receipt in receipts] == [old, old, old, new, new]
    check_log(url, acknowledged=receipts)


def test_a_host_whose_key_was_retired_stops_and_says_so(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer, checkpoint_signer = MemorySigner(), MemorySigner("Ed25519")
    keys = {"signer": signer.uri, "checkpoint_signer": checkpoint_signer.uri}
    attestlog.create(url, origin="example.com/retired", **keys).close()  # type: ignore[arg-type]
    with attestlog.open(url, **keys) as one, attestlog.open(url, **keys) as other:  # type: ignore[arg-type]
        receipts = [other.append(draft(1)), one.rotate_key(MemorySigner())]
        with monkeypatch.context() as elsewhere:
            elsewhere.setenv("ATTESTLOG_HOME", str(tmp_path / "other"))
            configure_log(url, entry=[signer.uri], checkpoint=checkpoint_signer.uri)
            with pytest.raises(WrongKeyError, match="entry 2"):
                other.append(draft(2))
        receipts.append(one.append(draft(3)))
    assert receipts[-1].sequence_number == 3
    check_log(url, acknowledged=receipts)


def test_a_hold_of_one_host_binds_the_next_turn_of_another(url: str) -> None:
    settings = attestlog.Settings(erasable_payloads=True)
    attestlog.create(url, origin="example.com/hold", settings=settings).close()
    with attestlog.open(url) as one, attestlog.open(url) as other:
        receipt = other.append(draft(1))
        one.add_hold("case-1", reason="litigation", actor_id="counsel")
        with pytest.raises(ErasureRefusedError, match="case-1"):
            other.erase(receipt.sequence_number, reason="asked for", actor_id="officer-1")
