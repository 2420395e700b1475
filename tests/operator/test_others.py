"""Tools of others find the client Secret as docs/operator.md says: a reloader by an annotation, External Secrets by a label."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.cluster.kube import Cluster
from tests.operator.operators import Operator
from tests.operator.others import PUSH_SECRETS, example, selected_labels
from tests.operator.stand import KEYSET, Stand

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def push_secrets(cluster: Cluster) -> Iterator[None]:
    cluster.kubectl("apply", "--server-side", "--filename", str(PUSH_SECRETS))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "--filename", str(PUSH_SECRETS))
    yield
    cluster.kubectl("delete", "--filename", str(PUSH_SECRETS))


def test_a_reloader_finds_the_annotation_that_it_looks_for(stand_: Stand, operator: Operator) -> None:
    key = example("reloader")["ApiKey"]
    name = stand_.key(key["metadata"]["name"], **(key["spec"] | {"keySetRef": {"name": KEYSET}}))
    stand_.active(name)
    found = stand_.space.get("secret", name)
    assert found["metadata"]["annotations"]["reloader.stakater.com/match"] == "true"
    before = found["metadata"]["resourceVersion"]
    stand_.rotate(name)
    stand_.active(name, 2)
    assert stand_.space.get("secret", name)["metadata"]["resourceVersion"] != before, "what a reloader reacts to"


@pytest.mark.usefixtures("push_secrets")
def test_a_push_secret_selects_the_one_secret_with_what_it_copies(stand_: Stand, operator: Operator) -> None:
    found = example("pushsecret")
    key, push = found["ApiKey"], found["PushSecret"]
    name = stand_.key(key["metadata"]["name"], **(key["spec"] | {"keySetRef": {"name": KEYSET}}))
    stand_.active(name)
    stand_.space.apply(push)
    stored = stand_.space.get("pushsecret", push["metadata"]["name"])
    assert stored["spec"] == push["spec"], "the stub dropped nothing that it does not know"
    labels = ",".join(f"{label}={value}" for label, value in selected_labels(stored).items())
    [secret] = stand_.space.get("secrets", f"--selector={labels}")
    assert secret["metadata"]["name"] == name
    assert {each["match"]["secretKey"] for each in stored["spec"]["data"]} <= secret["data"].keys()
