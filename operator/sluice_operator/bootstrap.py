"""The objects of the chart's ConfigMap, made once: first the ApiKeys, their KeySet last.

So the KeySet's existence is the mark that it was done, and an ApiKey that somebody deleted later never comes back.
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
from sluice_operator.resources import CONFIG_MAPS, KEY_SETS, OF_KIND, Raw

RETRY_SECONDS = (1, 2, 5, 10, 30)

log = structlog.get_logger()


class BadDocument(ValueError):
    """A document of the ConfigMap is none that may be in there. The text names its key and the fault."""


async def keep_trying(api: Api, namespace: str, configmap: str) -> None:
    """Until it is done, or can not be."""
    for seconds in itertools.chain(RETRY_SECONDS, itertools.repeat(RETRY_SECONDS[-1])):
        try:
            await make(api, namespace, configmap)
            return
        except (NotFound, BadDocument) as error:
            log.error("bootstrap not possible", configmap=configmap, told=str(error))
            return
        except ApiError as error:
            log.warning("bootstrap waits", configmap=configmap, told=str(error))
        await asyncio.sleep(seconds)


async def make(api: Api, namespace: str, configmap: str) -> None:
    """Raises ApiError and BadDocument."""
    found = await api.get(CONFIG_MAPS, namespace, configmap)
    documents = dict(read(found.get("data") or {}))
    there = {each["metadata"]["name"] for each in (await api.list(KEY_SETS, namespace)).items}
    for keyset in (each for each in documents.values() if each["kind"] == names.KEY_SET):
        name = keyset["metadata"]["name"]
        if name in there:
            continue
        for document in [*keys_of(documents.values(), name), keyset]:
            await create(api, namespace, document)
        log.info("bootstrap done", keyset=name)


async def create(api: Api, namespace: str, document: Raw) -> None:
    metadata = {part: document["metadata"][part] for part in ("name", "labels", "annotations") if part in document["metadata"]}
    try:
        await api.create(OF_KIND[document["kind"]], namespace, {"metadata": metadata, "spec": document["spec"]})
    except AlreadyExists:
        return


def keys_of(documents: Iterable[Raw], keyset: str) -> Iterator[Raw]:
    for each in documents:
        if each["kind"] == names.API_KEY and (each["spec"].get("keySetRef") or {}).get("name") == keyset:
            yield each


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
