"""Every name that the operator gives or reads: kinds, labels, annotations, Secret types, object names."""

from __future__ import annotations

import re

GROUP = "sluice.dev"
API_VERSION = f"{GROUP}/v1alpha1"
API_KEY, KEY_SET = "ApiKey", "KeySet"

# Set once when a Secret is made, and never to be changed after that: what tells our Secrets from all others.
KEY_TYPE, KEYSET_TYPE = f"{GROUP}/api-key", f"{GROUP}/keyset"
KEY_DATA, KEYSET_DATA, SEAL_DATA = "key", "keyset.json", "seal"

LABEL_KEYSET, LABEL_API_KEY = f"{GROUP}/keyset", f"{GROUP}/apikey"
# On an ApiKey, by its owner: any new value asks for a rotation.
ROTATE = f"{GROUP}/rotate"
# On a version Secret: the digest of its key, and which value of ROTATE it was made for (hashed).
DIGEST, MADE_FOR = f"{GROUP}/digest", f"{GROUP}/made-for"
# On a version Secret and, of the active version, on the client Secret.
ACTIVATED_AT = f"{GROUP}/activated-at"
# On the version Secret of a version that has a successor: from then on nobody accepts it.
ENDS_AT = f"{GROUP}/ends-at"
# On the client Secret: the version that it holds.
VERSION = f"{GROUP}/version"
# On the published Secret: a MAC over its document. Who can write that Secret only cannot make one: the key is in another Secret.
SEAL = f"{GROUP}/seal"
# On a Pod of the target, the one thing of it that we ever change: makes the kubelet deliver its Secrets at once.
POD_REVISION = f"{GROUP}/keyset-revision"

# On the Lease of the operator: the KeySets that were made out of the chart's ConfigMap, each as `<uid of the ConfigMap>/<name>`.
BOOTSTRAPPED = f"{GROUP}/bootstrapped"
# In each namespace that is worked in, held by the release that works in it.
CLAIM_LEASE = "sluice-operator-claim"

# No ApiKey and no client Secret may be called like a version Secret (a rule of the CRD), so this is never ambiguous.
VERSION_SECRET = re.compile(r"(?P<key>.+)-v(?P<number>[1-9][0-9]{0,8})")


def published_secret(keyset: str) -> str:
    return f"{keyset}-published"


def seal_secret(keyset: str) -> str:
    return f"{keyset}-seal"


def version_secret(key: str, number: int) -> str:
    return f"{key}-v{number}"


def version_of(secret: str) -> tuple[str, int] | None:
    """The ApiKey and the version number that a version Secret is named for; None when it is no such name."""
    found = VERSION_SECRET.fullmatch(secret)
    return (found["key"], int(found["number"])) if found else None
