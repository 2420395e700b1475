"""What the clients of AWS's services have in common. Imported only where one is used (extras `dynamodb` and `sqs`)."""

from __future__ import annotations

import functools
from typing import Any

import boto3
import msgspec
from botocore import exceptions

# What no answer to these operations lacks.
MEMBERS = {"BatchGetItem": "Responses", "DescribeTable": "Table", "Query": "Items", "GetQueueUrl": "QueueUrl"}
decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
NO_LOGIN = (
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.CredentialRetrievalError,
    exceptions.SSOError,
)
# What AWS says of who asks, some of it with "Exception" at its end; also STS, of a role that may not be assumed.
REFUSED = frozenset(
    (
        "AccessDenied",
        "ExpiredToken",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidIdentityToken",
        "InvalidSignature",
        "MissingAuthenticationToken",
        "SignatureDoesNotMatch",
        "UnrecognizedClient",
    )
)


@functools.cache
def session() -> Any:
    """One for the process: to read botocore's data takes most of a second. Its clients may be used by every thread.

    Credentials come from where boto3 looks: Pod Identity, IRSA, AWS_*.
    """
    return boto3.session.Session()


class BrokenAnswer(exceptions.BotoCoreError):  # type: ignore[misc]
    fmt = "a success that the service did not answer"


def client(service: str, **given: Any) -> Any:
    """A client of `service` that takes for a success only what the service answered.

    botocore takes a 200 with the page of a proxy, or with half of an answer, for an answer that says nothing: a put for stored.
    """
    made = session().client(service, **given)
    made.meta.events.register(f"before-parse.{service}", judge)
    return made


def judge(response_dict: Any, operation_model: Any, **_: Any) -> None:
    """Raise BrokenAnswer for a success whose body is no JSON object, or lacks what every answer has."""
    if response_dict["status_code"] < 300:
        try:
            found = decode_object(response_dict["body"])
        except (msgspec.DecodeError, UnicodeError) as error:
            raise BrokenAnswer from error
        if operation_model.name in MEMBERS and MEMBERS[operation_model.name] not in found:
            raise BrokenAnswer


def code_of(error: exceptions.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def refuses_login(error: Exception) -> bool:
    """Whether AWS refuses who asks, or its use of a key of KMS, or there is nobody to ask as."""
    if not isinstance(error, exceptions.ClientError):
        return isinstance(error, NO_LOGIN)
    code = code_of(error)
    of_key = code.lower().startswith("kms") and "throttl" not in code.lower()
    return of_key or code.removesuffix("Exception") in REFUSED
