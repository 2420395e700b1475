"""The evaluator of policies against the IAM user guide. Each case names its page in docs.aws.amazon.com/IAM/latest/UserGuide."""

from __future__ import annotations

from typing import Any

import pytest
from tests.platform.iam.conditions import Context, Unknown, hold
from tests.platform.iam.policy import Decision, Principal, Request, allowed, decide

OPERATORS = "reference_policies_elements_condition_operators"
LOGIC = "reference_policies_condition-logic-multiple-context-keys-or-values"
SETS = "reference_policies_condition-single-vs-multi-valued-context-keys"
EVALUATION = "reference_policies_evaluation-logic"
ACTION = "reference_policies_elements_action"
NOT_ACTION = "reference_policies_elements_notaction"
RESOURCE = "reference_policies_elements_resource"
NOT_RESOURCE = "reference_policies_elements_notresource"
PRINCIPAL = "reference_policies_elements_principal"

TAG, TYPE, ISSUED, TAGS = "aws:PrincipalTag/job-category", "ec2:InstanceType", "aws:TokenIssueTime", "aws:TagKeys"
ROLE = "arn:aws:iam::111122223333:role/app"
TOPIC = "arn:aws:sns:us-east-1:123456789012:alerts"

# page, the Condition element, the request's context, whether it holds
CONDITIONS: list[tuple[str, dict[str, dict[str, Any]], Context, bool]] = [
    # Exact matching with case; a key that is not in the request does not match.
    (OPERATORS, {"StringEquals": {TAG: "iamuser-admin"}}, {TAG: "iamuser-admin"}, True),
    (OPERATORS, {"StringEquals": {TAG: "iamuser-admin"}}, {TAG: "IAMUser-Admin"}, False),
    (OPERATORS, {"StringEquals": {TAG: "iamuser-admin"}}, {TAG: "dev"}, False),
    (OPERATORS, {"StringEquals": {TAG: "iamuser-admin"}}, {}, False),
    (OPERATORS, {"StringEqualsIgnoreCase": {TAG: "iamuser-admin"}}, {TAG: "IAMUser-Admin"}, True),
    # No wildcard in StringEquals; in StringLike `*` is many characters and `?` is one.
    (OPERATORS, {"StringEquals": {"s3:prefix": "home/*"}}, {"s3:prefix": "home/anna"}, False),
    (OPERATORS, {"StringLike": {"s3:prefix": ["", "home/*"]}}, {"s3:prefix": "home/anna"}, True),
    (OPERATORS, {"StringLike": {"s3:prefix": ["", "home/*"]}}, {"s3:prefix": ""}, True),
    (OPERATORS, {"StringLike": {"s3:prefix": "home/?"}}, {"s3:prefix": "home/anna"}, False),
    (OPERATORS, {"StringLike": {"s3:prefix": "home/[ab]"}}, {"s3:prefix": "home/a"}, False),
    # A negated operator holds when the key is not there.
    (OPERATORS, {"StringNotEquals": {TAG: "iamuser-admin"}}, {TAG: "dev"}, True),
    (OPERATORS, {"StringNotEquals": {TAG: "iamuser-admin"}}, {TAG: "iamuser-admin"}, False),
    (OPERATORS, {"StringNotLike": {TAG: "iamuser-*"}}, {}, True),
    # Numbers, dates, booleans, addresses.
    (OPERATORS, {"NumericLessThanEquals": {"s3:max-keys": "10"}}, {"s3:max-keys": "10"}, True),
    (OPERATORS, {"NumericLessThanEquals": {"s3:max-keys": "10"}}, {"s3:max-keys": "11"}, False),
    (OPERATORS, {"NumericGreaterThan": {"s3:max-keys": 9}}, {"s3:max-keys": "10"}, True),
    (OPERATORS, {"DateGreaterThan": {ISSUED: "2020-01-01T00:00:01Z"}}, {ISSUED: "2021-01-01T00:00:00Z"}, True),
    (OPERATORS, {"DateGreaterThan": {ISSUED: "2020-01-01T00:00:01Z"}}, {ISSUED: "2019-01-01T00:00:00Z"}, False),
    (OPERATORS, {"Bool": {"aws:SecureTransport": "false"}}, {"aws:SecureTransport": "false"}, True),
    (OPERATORS, {"Bool": {"aws:SecureTransport": False}}, {"aws:SecureTransport": "true"}, False),
    (OPERATORS, {"Bool": {"aws:SecureTransport": "false"}}, {}, False),
    (OPERATORS, {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}, {"aws:SourceIp": "203.0.113.7"}, True),
    (OPERATORS, {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}, {"aws:SourceIp": "203.0.114.7"}, False),
    (OPERATORS, {"IpAddress": {"aws:SourceIp": "2001:DB8:1234:5678::/64"}}, {"aws:SourceIp": "2001:db8:1234:5678::1"}, True),
    (OPERATORS, {"NotIpAddress": {"aws:SourceIp": ["203.0.113.0/24", "192.0.2.0/24"]}}, {"aws:SourceIp": "192.0.2.1"}, False),
    # Parts of an ARN are compared each for itself; ArnEquals does what ArnLike does.
    (OPERATORS, {"ArnEquals": {"aws:SourceArn": TOPIC}}, {"aws:SourceArn": TOPIC}, True),
    (OPERATORS, {"ArnEquals": {"aws:SourceArn": "arn:aws:sns:*:123456789012:*"}}, {"aws:SourceArn": TOPIC}, True),
    (OPERATORS, {"ArnLike": {"aws:SourceArn": "arn:aws:sns:*"}}, {"aws:SourceArn": TOPIC}, False),
    (OPERATORS, {"ArnNotLike": {"aws:SourceArn": "arn:aws:sns:*:123456789012:*"}}, {"aws:SourceArn": TOPIC}, False),
    # IfExists: only where the key is there.
    (OPERATORS, {"StringLikeIfExists": {TYPE: ["t1.*", "t2.*", "m3.*"]}}, {TYPE: "t2.micro"}, True),
    (OPERATORS, {"StringLikeIfExists": {TYPE: ["t1.*", "t2.*", "m3.*"]}}, {TYPE: "m5.large"}, False),
    (OPERATORS, {"StringLikeIfExists": {TYPE: ["t1.*", "t2.*", "m3.*"]}}, {}, True),
    # Null: true asks that the key is not there, false that it is.
    (OPERATORS, {"Null": {ISSUED: "true"}}, {}, True),
    (OPERATORS, {"Null": {ISSUED: "true"}}, {ISSUED: "2021-01-01T00:00:00Z"}, False),
    (OPERATORS, {"Null": {ISSUED: "false"}}, {ISSUED: "2021-01-01T00:00:00Z"}, True),
    # Operators and keys are joined by AND, values by OR, values of a negated operator by NOR. Names of keys have no case.
    (LOGIC, {"StringEquals": {"a:x": "1", "a:y": "2"}}, {"a:x": "1", "a:y": "3"}, False),
    (LOGIC, {"StringEquals": {"a:x": "1"}, "StringLike": {"a:y": "2*"}}, {"a:x": "1", "a:y": "23"}, True),
    (LOGIC, {"StringEquals": {"a:x": ["1", "2"]}}, {"a:x": "2"}, True),
    (LOGIC, {"StringNotEquals": {"a:x": ["1", "2"]}}, {"a:x": "2"}, False),
    (LOGIC, {"StringNotEquals": {"a:x": ["1", "2"]}}, {"a:x": "3"}, True),
    (LOGIC, {"StringEquals": {"AWS:SourceAccount": "1"}}, {"aws:sourceaccount": "1"}, True),
    # ForAllValues holds when there is no value at all, ForAnyValue does not.
    (SETS, {"ForAllValues:StringEquals": {TAGS: ["environment", "cost-center"]}}, {TAGS: ["environment"]}, True),
    (SETS, {"ForAllValues:StringEquals": {TAGS: ["environment"]}}, {TAGS: ["environment", "owner"]}, False),
    (SETS, {"ForAllValues:StringEquals": {TAGS: ["environment"]}}, {}, True),
    (SETS, {"ForAllValues:StringEquals": {TAGS: ["environment"]}}, {TAGS: []}, True),
    (SETS, {"ForAnyValue:StringEquals": {TAGS: ["environment", "cost-center"]}}, {TAGS: ["owner", "environment"]}, True),
    (SETS, {"ForAnyValue:StringEquals": {TAGS: ["environment"]}}, {TAGS: ["owner"]}, False),
    (SETS, {"ForAnyValue:StringEquals": {TAGS: ["environment"]}}, {}, False),
    (SETS, {"ForAnyValue:StringNotEquals": {TAGS: ["environment"]}}, {TAGS: ["environment", "owner"]}, True),
    (SETS, {"ForAllValues:StringNotEquals": {TAGS: ["environment"]}}, {TAGS: ["environment", "owner"]}, False),
]  # fmt: skip


@pytest.mark.parametrize(("page", "condition", "context", "holds"), CONDITIONS)
def test_conditions_hold_as_the_user_guide_says(page: str, condition: dict[str, Any], context: Context, holds: bool) -> None:
    assert hold(condition, context) is holds, page


def document(**statement: Any) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", **statement}]}


@pytest.mark.parametrize(
    ("page", "pattern", "action", "expected"),
    [
        (ACTION, "iam:ListAccessKeys", "IAM:listaccesskeys", True),
        (ACTION, "s3:*", "s3:GetObject", True),
        (ACTION, "iam:*AccessKey*", "iam:UpdateAccessKey", True),
        (ACTION, "iam:*AccessKey*", "iam:DeleteUser", False),
        (ACTION, ["sqs:SendMessage", "sqs:ReceiveMessage"], "sqs:ReceiveMessage", True),
    ],
)
def test_actions_match_as_the_user_guide_says(page: str, pattern: Any, action: str, expected: bool) -> None:
    assert allowed([document(Action=pattern)], Request(action)) is expected, page


BUCKET = "arn:aws:s3:::amzn-s3-demo-bucket"


@pytest.mark.parametrize(
    ("page", "pattern", "resource", "expected"),
    [
        (RESOURCE, "arn:aws:sqs:us-east-2:account-id:queue1", "arn:aws:sqs:us-east-2:account-id:queue1", True),
        (RESOURCE, "arn:aws:sqs:us-east-2:account-id:queue1", "arn:aws:sqs:us-east-1:account-id:queue1", False),
        (RESOURCE, f"{BUCKET}/*/test/*", f"{BUCKET}/1/test/object.jpg", True),
        (RESOURCE, f"{BUCKET}/*/test/*", f"{BUCKET}/1/2/test/3/object.jpg", True),
        (RESOURCE, f"{BUCKET}/*/test/*", f"{BUCKET}//test/object.jpg", True),
        (RESOURCE, f"{BUCKET}/*/test/*", f"{BUCKET}/1-test/object.jpg", False),
        (RESOURCE, f"{BUCKET}/*/test/*", f"{BUCKET}/test/object.jpg", False),
        (RESOURCE, f"{BUCKET}/*/test/*", f"{BUCKET}/1/2/test.jpg", False),
    ],
)
def test_resources_match_as_the_user_guide_says(page: str, pattern: str, resource: str, expected: bool) -> None:
    assert allowed([document(Resource=pattern)], Request("s3:GetObject", resource)) is expected, page


def test_not_action_is_everything_else() -> None:
    """NOT_ACTION: S3 without deleting buckets, and nothing outside of S3 by the Resource element."""
    given = [
        {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "NotAction": "s3:DeleteBucket", "Resource": "arn:aws:s3:::*"}}
    ]
    assert allowed(given, Request("s3:ListBucket", BUCKET))
    assert not allowed(given, Request("s3:DeleteBucket", BUCKET))
    assert not allowed(given, Request("sqs:SendMessage", "arn:aws:sqs:us-east-2:1:queue"))


def test_not_resource_is_everything_else() -> None:
    """NOT_RESOURCE: a Deny for all but one bucket leaves only what another statement allows in that bucket."""
    deny = {"Effect": "Deny", "Action": "s3:*", "NotResource": [f"{BUCKET}", f"{BUCKET}/*"]}
    given = [document(Action="s3:*"), {"Version": "2012-10-17", "Statement": [deny]}]
    assert allowed(given, Request("s3:GetObject", f"{BUCKET}/key"))
    assert decide(given, Request("s3:GetObject", "arn:aws:s3:::other/key")) is Decision.DENIED


@pytest.mark.parametrize(
    ("effects", "expected"),
    [
        ((), Decision.NOT_ALLOWED),
        (("Allow",), Decision.ALLOWED),
        (("Deny",), Decision.DENIED),
        (("Allow", "Deny"), Decision.DENIED),
        (("Deny", "Allow"), Decision.DENIED),
    ],
)
def test_a_deny_anywhere_counts_more_than_any_allow(effects: tuple[str, ...], expected: Decision) -> None:
    """EVALUATION."""
    assert decide([document(Effect=effect) for effect in effects], Request("s3:GetObject", BUCKET)) is expected


@pytest.mark.parametrize(
    ("named", "asking", "expected"),
    [
        ({"AWS": ROLE}, Principal("AWS", ROLE), True),
        ({"AWS": ROLE}, Principal("AWS", f"{ROLE}2"), False),
        ({"AWS": "111122223333"}, Principal("AWS", ROLE), True),
        ({"AWS": "arn:aws:iam::111122223333:root"}, Principal("AWS", ROLE), True),
        ({"AWS": "arn:aws:iam::444455556666:root"}, Principal("AWS", ROLE), False),
        ("*", Principal("AWS", ROLE), True),
        ({"Service": ["ecs.amazonaws.com", "eks.amazonaws.com"]}, Principal("Service", "eks.amazonaws.com"), True),
        ({"Service": "ecs.amazonaws.com"}, Principal("AWS", ROLE), False),
        ({"Federated": "accounts.google.com"}, Principal("Federated", "accounts.google.com"), True),
        ({"Federated": "accounts.google.com"}, None, False),
    ],
)
def test_principals_match_as_the_user_guide_says(named: Any, asking: Principal | None, expected: bool) -> None:
    """PRINCIPAL."""
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": named, "Action": "sts:AssumeRole"}]}
    assert allowed([trust], Request("sts:AssumeRole", principal=asking)) is expected, PRINCIPAL


@pytest.mark.parametrize(
    "statement",
    [
        {"Condition": {"StringMatches": {"a:x": "1"}}},
        {"Condition": {"ForSomeValues:StringEquals": {"a:x": "1"}}},
        {"Condition": {"BinaryEquals": {"a:x": "MQ=="}}},
        {"Condition": {"StringEquals": {"a:x": "no"}, "Strange": {"a:x": "1"}}},
        {"Condition": {"StringEquals": {"a:many": "1"}}},
        {"Condition": {"ForAllValues:StringEquals": {"a:x": "1"}}},
        {"Condition": {"StringEquals": {"a:x": "${aws:username}"}}},
        {"Resource": "arn:aws:s3:::bucket/${aws:username}"},
        {"Effect": "Perhaps"},
        {"NotAction": "s3:*"},
        {"NotPrincipal": {"AWS": ROLE}},
        {"Principal": {"CanonicalUser": "79a5"}},
        {"Principal": {"AWS": "arn:aws:iam::111122223333:role/*"}},
        {"Surprise": "element"},
    ],
)
def test_what_it_does_not_know_is_refused(statement: dict[str, Any]) -> None:
    asking = Request("s3:GetObject", BUCKET, Principal("AWS", ROLE), {"a:x": "1", "a:many": ["1", "2"]})
    asked = asking if "Principal" in statement else Request("s3:GetObject", BUCKET, None, asking.context)
    with pytest.raises(Unknown):
        decide([document(**statement)], asked)


def test_another_version_of_the_language_is_refused() -> None:
    with pytest.raises(Unknown):
        decide([{"Version": "2008-10-17", "Statement": []}], Request("s3:GetObject"))
