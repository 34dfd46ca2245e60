"""People who approve with a key that never leaves its device."""

from pathlib import Path

import pytest
from tests.support.audits import verdicts
from tests.support.logs import create
from tests.support.tokens import SoftToken

from attestlog._internal.approving import approved_draft, check_approvals, sign_approval
from attestlog._internal.core.policy import parse_policy
from attestlog._internal.log.drafts import system_clock
from attestlog._internal.signers.opening import open_signer
from attestlog.errors import ApprovalUsedError


@pytest.mark.parametrize("label", ["other", "checkpoints"])
def test_an_approval_by_a_key_in_a_device(keys: SoftToken, tmp_path: Path, label: str) -> None:
    signer = open_signer(keys.uri(label))
    pem = signer.public_key.pem
    signer.close()
    policy = parse_policy({
        "approvers": {"ana": {"keys": [pem]}}, "rules": {"all": {"required_approvals": 1}}
    })  # fmt: skip
    with create(tmp_path / "log", policy=policy, clock=system_clock) as log:
        request = log.request(event_type="ACTION", action_type="deploy", actor_id="agent-7")
        approval = sign_approval(request, keys.uri(label), name="ana")
        check_approvals(policy, request, [approval])
        assert log.append(approved_draft(request, [approval])).entry.quorum_met
        with pytest.raises(ApprovalUsedError):
            log.append(approved_draft(request, [approval]))
    assert verdicts(tmp_path / "log") == ("VERIFIED", "VERIFIED")
