"""What the clients of AWS's services have in common. Imported only where one is used (extras `dynamodb` and `sqs`)."""

from __future__ import annotations

import functools
from typing import Any

import boto3
from botocore import exceptions

NO_LOGIN = (exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.CredentialRetrievalError)


@functools.cache
def session() -> Any:
    """One for the process: to read botocore's data takes most of a second. Its clients may be used by every thread.

    Credentials come from where boto3 looks: Pod Identity, IRSA, AWS_*.
    """
    return boto3.session.Session()


def code_of(error: exceptions.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
