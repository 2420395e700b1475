"""S3: a bucket's policy is asked with its conditions; moto reads actions and resources only."""

from __future__ import annotations

import json
from typing import Any

from flask import has_request_context, request
from moto.iam.access_control import PermissionResult
from moto.s3.models import FakeBucket
from tests.platform.emulator.patching import around
from tests.platform.iam.policy import Decision, Principal, Request, decide

# Condition keys of S3 that come as headers (Service Authorization Reference, "Condition keys for Amazon S3").
HEADERS = ("x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id")
RESULTS = {
    Decision.DENIED: PermissionResult.DENIED,
    Decision.ALLOWED: PermissionResult.PERMITTED,
    Decision.NOT_ALLOWED: PermissionResult.NEUTRAL,
}


@around(FakeBucket, "get_permission")
def get_permission(old: Any, self: FakeBucket, action: str, resource: str) -> PermissionResult:
    """Of somebody in the account, by TLS: the emulator has none, and every client of AWS does."""
    if self.policy is None:
        return PermissionResult.NEUTRAL
    context = {"aws:SecureTransport": "true", **(encryption() if has_request_context() else {})}
    asking = Request(action, resource, Principal("AWS", f"arn:aws:iam::{self.account_id}:role/somebody"), context)
    return RESULTS[decide([json.loads(self.policy)], asking)]


def encryption() -> dict[str, str]:
    return {f"s3:{name}": request.headers[name] for name in HEADERS if name in request.headers}
