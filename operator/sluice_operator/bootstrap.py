"""The objects of the chart's ConfigMap, made once: first the ApiKeys, their KeySet last.

What was made is marked on the operator's Lease, so that what somebody deletes later, be it a KeySet with all of its keys, never
comes back. A ConfigMap of another installation has another uid: it is made anew.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import structlog
import yaml

from sluice_operator import names
from sluice_operator.api import AlreadyExists, Api, ApiError, NotFound
from sluice_operator.resources import CONFIG_MAPS, KEY_SETS, LEASES, OF_KIND, Raw

RETRY_SECONDS = (1, 2, 5, 10, 30)

log = structlog.get_logger()


class BadDocument(ValueError):
    """A document of the ConfigMap is none that may be in there. The text names its key and the fault."""


class Bootstrap:
    """`done`: whether all is made that should be, or nothing more can be."""

    def __init__(self, api: Api, namespace: str, configmap: str, lease: str) -> None:
        self._api = api
        self._namespace = namespace
        self._configmap = configmap
        self._lease = lease
        self.done = False

    async def keep_trying(self) -> None:
        """Until it is done, or can not be."""
        for seconds in itertools.chain(RETRY_SECONDS, itertools.repeat(RETRY_SECONDS[-1])):
            try:
                await self.make()
                break
            except (NotFound, BadDocument) as error:
                log.error("bootstrap not possible", configmap=self._configmap, told=str(error))
                break
            except ApiError as error:
                log.warning("bootstrap waits", configmap=self._configmap, told=str(error))
            await asyncio.sleep(seconds)
        self.done = True

    async def make(self) -> None:
        """Each KeySet with its ApiKeys, once, whatever becomes of the others. Raises the last ApiError, and BadDocument."""
        found = await self._api.get(CONFIG_MAPS, self._namespace, self._configmap)
        documents, uid = dict(read(found.get("data") or {})), found["metadata"]["uid"]
        lease = await self._api.get(LEASES, self._namespace, self._lease)
        marked = ((lease["metadata"].get("annotations") or {}).get(names.BOOTSTRAPPED) or "").split()
        there = {each["metadata"]["name"] for each in (await self._api.list(KEY_SETS, self._namespace)).items}
        failed: ApiError | None = None
        for keyset in (each for each in documents.values() if each["kind"] == names.KEY_SET):
            name = keyset["metadata"]["name"]
            mark = f"{uid}/{name}"
            if mark in marked:
                continue
            try:
                if name not in there:
                    for document in [*keys_of(documents.values(), name), keyset]:
                        await create(self._api, self._namespace, document)
                marked = [each for each in marked if each.startswith(f"{uid}/")] + [mark]
                notes = {"metadata": {"annotations": {names.BOOTSTRAPPED: " ".join(marked)}}}
                await self._api.merge(LEASES, self._namespace, self._lease, notes)
                log.info("bootstrap done", keyset=name)
            except ApiError as error:
                failed = error
        if failed is not None:
            raise failed


async def create(api: Api, namespace: str, document: Raw) -> None:
    metadata = {part: document["metadata"][part] for part in ("name", "labels", "annotations") if part in document["metadata"]}
    try:
        await api.create(OF_KIND[document["kind"]], namespace, {"metadata": metadata, "spec": document["spec"]})
    except AlreadyExists:
        return


def keys_of(documents: Iterable[Raw], keyset: str) -> Iterator[Raw]:
    for each in documents:
        if each["kind"] == names.API_KEY and named(each) == keyset:
            yield each


def named(document: Raw) -> Any:
    """The KeySet of an ApiKey, whatever stands there."""
    reference = document["spec"].get("keySetRef")
    return reference.get("name") if isinstance(reference, dict) else None


def read(data: dict[str, str]) -> Iterator[tuple[str, Raw]]:
    for name, text in sorted(data.items()):
        try:
            document = yaml.safe_load(text)
        except yaml.YAMLError:
            raise BadDocument(f"{name} is no YAML document") from None
        yield name, checked(name, document)


def checked(name: str, document: Any) -> Raw:
    if not isinstance(document, dict) or document.get("apiVersion") != names.API_VERSION or document.get("kind") not in OF_KIND:
        raise BadDocument(f"{name} is no ApiKey or KeySet of {names.API_VERSION}")
    if not isinstance(document.get("metadata"), dict) or not isinstance(document["metadata"].get("name"), str):
        raise BadDocument(f"{name} has no metadata.name")
    if not isinstance(document.get("spec"), dict):
        raise BadDocument(f"{name} has no spec")
    return document
