"""Asking for approvals on the command line: a governed log, requests, approvals."""

import json
from pathlib import Path
from typing import Any

from tests.cli.running import Run
from tests.support.logs import draft

ROLES = ("creator", "community", "auditor")


RULES = """
[rules.changes]
event_types = ["CHANGE"]
required_approvals = 3
roles = ["creator", "community", "auditor"]

[rules.deploys]
action_types = ["deploy*"]
required_approvals = 1
roles = ["auditor"]
"""


def policy_text(keys: dict[str, str], rules: str = RULES) -> str:
    people = [
        f"[approvers.{name}]\nroles = [{name!r}]\nkeys = [{json.dumps(key)}]\n" for name, key in keys.items()
    ]
    return rules + "\n" + "\n".join(people)


DEPLOY = draft(1, action_type="deploy_web", actor_id="agent-7", action_payload={"commit": "372b274"})


def proposed(run: Run, log: Path, members: dict[str, Any] = DEPLOY) -> Path:
    source, request = log.parent / "draft.json", log.parent / "request.json"
    source.write_text(json.dumps(members))
    result = run("approval", "request", log, source, "-o", request)
    assert (result.code, result.err) == (0, "")
    return request


def approved(run: Run, request: Path, key: object, name: str, *more: str) -> Path:
    path = request.with_name(f"{name}-{len(list(request.parent.iterdir()))}.json")
    result = run("approval", "sign", request, "--key", key, "--name", name, "-o", path, *more)
    assert (result.code, result.err) == (0, "")
    return path


def verdict(run: Run, log: Path) -> str:
    return str(run("verify", log, "--json", "--no-remember").objects[-1]["verdict"])
