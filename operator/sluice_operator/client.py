"""The one place that calls the API server beside kopf's watches: by the official client.

Every call has a timeout and ends in an answer or an ApiError. The client's connections, TLS and credentials are used, not its
models: answers are plain JSON objects; who reads them takes what it needs and forgets the rest (a Secret holds a plaintext).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import aiohttp
import msgspec
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config import ConfigException, load_kube_config
from kubernetes.aio.config.incluster_config import SERVICE_CERT_FILENAME, SERVICE_TOKEN_FILENAME, InClusterConfigLoader
from msgspec import Struct

from sluice_operator import api_types, telemetry
from sluice_operator.api_types import Raw, Resource
from sluice_operator.settings import Settings
from sluice_operator.telemetry import Refusals

# The name of this program wherever Kubernetes wants one: as a client, a field manager and the source of events.
FIELD_MANAGER = "sluice-operator"
TIMEOUT = aiohttp.ClientTimeout(total=10, connect=3)
CHUNK = 500
# Calls at a time: each has a connection of its own, and a thousand handshakes at once would all take too long.
AT_ONCE = 40
JSON, MERGE, JSON_PATCH, APPLY = (
    "application/json",
    "application/merge-patch+json",
    "application/json-patch+json",
    "application/apply-patch+yaml",
)
decode = msgspec.json.decode


class ApiError(Exception):
    """A call that did not do what it should. The text names the call and what the API server said, never a value of an object."""

    def __init__(self, verb: str, resource: str, told: str) -> None:
        super().__init__(f"{verb} {resource}: {told}")
        self.verb = verb
        self.resource = resource
        self.told = told


class NotFound(ApiError):
    """404."""


class AlreadyExists(ApiError):
    """409 for a create."""


class Conflict(ApiError):
    """409: the object is not the one that was seen, or (apply) another field manager has the field."""


class Forbidden(ApiError):
    """403: a right is missing, a policy denies it or a quota is used up."""


class Refused(ApiError):
    """400, 413, 422 and the like: it will be refused again."""


class Unavailable(ApiError):
    """No answer, or one that says try again later."""


ERRORS: Mapping[int, type[ApiError]] = {
    HTTPStatus.UNAUTHORIZED: Unavailable,
    HTTPStatus.FORBIDDEN: Forbidden,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.REQUEST_TIMEOUT: Unavailable,
    HTTPStatus.CONFLICT: Conflict,
    HTTPStatus.GONE: Unavailable,
    HTTPStatus.TOO_MANY_REQUESTS: Unavailable,
}


# Refused until somebody corrects something: other calls may still be done.
PASSED_OVER = (Forbidden, Refused)


class Listing(Struct, frozen=True):
    """What was kept of each object of a kind in a namespace, as they were at `resource_version`."""

    items: list[Any]
    resource_version: int


async def login(settings: Settings) -> Configuration:
    """The ServiceAccount's mount, its token read again every minute; else KUBECONFIG. Raises ConfigException."""
    made = Configuration()
    host, port = settings.kubernetes_service_host or "", str(settings.kubernetes_service_port)
    environment: Any = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
    try:
        InClusterConfigLoader(SERVICE_TOKEN_FILENAME, SERVICE_CERT_FILENAME, environ=environment).load_and_set(made)
    except ConfigException:
        await load_kube_config(client_configuration=made)
    # From Python 3.13 on it is set, and refuses a certificate without an Authority Key Identifier, as those of EKS are.
    made.disable_strict_ssl_verification = True
    return made


async def connection(settings: Settings) -> tuple[str, ssl.SSLContext, dict[str, str]]:
    """For kopf's watches: the API server's address, TLS, and the headers of a request. Raises ConfigException."""
    made = await login(settings)
    token = await made.get_api_key_with_prefix("BearerToken")
    headers = {"User-Agent": FIELD_MANAGER} | ({"Authorization": token} if token else {})
    return made.host, RESTClientObject(made).ssl_context, headers


class Api:
    """`login` is called for the first call, and again whenever the API server says 401. `refusals` hears of every answer."""

    def __init__(self, login: Callable[[], Awaitable[Configuration]], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._login = login
        self.refusals = Refusals()
        self._monotonic = monotonic
        self._client: ApiClient | None = None
        self._room = asyncio.Semaphore(AT_ONCE)
        self._dated: tuple[datetime, float] | None = None
        # When a call was last answered, by the monotonic clock; whatever the answer was.
        self.answered = monotonic()

    async def get(self, resource: Resource, namespace: str, name: str) -> Raw:
        return await self._call("get", resource, "GET", resource.path(namespace, name))

    async def list(
        self, resource: Resource, namespace: str, selector: str = "", keep: Callable[[Raw], Any] = lambda raw: raw
    ) -> Listing:
        """In chunks, and of each object only what `keep` makes of it: 5,000 whole Pods are 250 MiB."""
        items: list[Any] = []
        more, version = "", 0
        while True:
            query = {"limit": str(CHUNK), "labelSelector": selector, "continue": more}
            query = {key: value for key, value in query.items() if value}
            found = await self._call("list", resource, "GET", resource.path(namespace), query)
            items += map(keep, found.get("items") or [])
            version = int(found["metadata"].get("resourceVersion") or 0)
            more = found["metadata"].get("continue") or ""
            del found  # before the next one comes
            if not more:
                return Listing(items, version)

    async def glance(self, resource: Resource, namespace: str, selector: str = "") -> None:
        """List one object at the most: raises Forbidden where more would be refused, too."""
        query = {"limit": "1"} | ({"labelSelector": selector} if selector else {})
        await self._call("list", resource, "GET", resource.path(namespace), query)

    async def create(self, resource: Resource, namespace: str, body: Raw) -> Raw:
        """Raises AlreadyExists."""
        whole = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
        query = {"fieldManager": FIELD_MANAGER}
        try:
            return await self._call("create", resource, "POST", resource.path(namespace), query, JSON, whole)
        except Conflict as error:
            raise AlreadyExists(error.verb, error.resource, error.told) from None

    async def merge(self, resource: Resource, namespace: str, name: str, body: Raw) -> Raw:
        """A merge patch; a `resourceVersion` in its metadata is its precondition."""
        query = {"fieldManager": FIELD_MANAGER}
        return await self._call("patch", resource, "PATCH", resource.path(namespace, name), query, MERGE, body)

    async def set_status(self, resource: Resource, namespace: str, name: str, status: Raw) -> Raw:
        """Replaces all of it."""
        path = resource.path(namespace, name, "status")
        patch = [{"op": "add", "path": "/status", "value": status}]
        query = {"fieldManager": FIELD_MANAGER}
        return await self._call("patch", f"{resource.plural}/status", "PATCH", path, query, JSON_PATCH, patch)

    async def apply(self, resource: Resource, namespace: str, name: str, body: Raw) -> Raw:
        """Server-side apply without force: raises Conflict when somebody else has one of the fields."""
        query = {"fieldManager": FIELD_MANAGER, "force": "false"}
        return await self._call("patch", resource, "PATCH", resource.path(namespace, name), query, APPLY, body)

    async def delete(self, resource: Resource, namespace: str, name: str, resource_version: str) -> None:
        """That object only as it was seen; one that is gone already is fine."""
        options = {"preconditions": {"resourceVersion": resource_version}}
        try:
            await self._call("delete", resource, "DELETE", resource.path(namespace, name), None, JSON, options)
        except NotFound:
            return

    def clock(self) -> api_types.Clock:
        """Ours, and the API server's: the Date of its latest answer and the time since."""
        here = datetime.now(UTC)
        if self._dated is None:
            return api_types.at(here)
        date, since = self._dated
        return api_types.Clock(here, date + timedelta(seconds=self._monotonic() - since))

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def _call(
        self,
        verb: str,
        resource: Resource | str,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        content_type: str = JSON,
        body: Any = None,
    ) -> Raw:
        """Once more when it is told 401: the token may have been replaced."""
        plural = resource if isinstance(resource, str) else resource.plural
        for last in (False, True):
            # A Lease waits for nothing: who does not renew it in time is not the leader any more.
            async with contextlib.nullcontext() if plural == api_types.LEASES.plural else self._room:
                status, data = await self._exchange(verb, plural, method, path, query, content_type, body)
            if status != HTTPStatus.UNAUTHORIZED or last:
                break
            await self._renew()
        if status < HTTPStatus.BAD_REQUEST:
            self.refusals.clear(namespace_of(path), verb, plural)
            return answered(verb, plural, data)
        error = failed(verb, plural, status, data)
        if isinstance(error, Forbidden | Refused):
            self.refusals.note(namespace_of(path), verb, plural, error.told)
        raise error

    async def _exchange(
        self, verb: str, plural: str, method: str, path: str, query: Mapping[str, str] | None, content_type: str, body: Any
    ) -> tuple[int, bytes]:
        try:
            client = await self._connected()
            headers = {"Accept": JSON} | ({} if body is None else {"Content-Type": content_type})
            parts = await client.param_serialize(
                method,
                path,
                query_params=[*(query or {}).items()],
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
            )
            answer = await client.call_api(*parts[:4], _request_timeout=TIMEOUT)
            content = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError, asyncio.IncompleteReadError, ConfigException) as error:
            telemetry.REQUESTS.labels(verb, plural, "none").inc()
            raise Unavailable(verb, plural, type(error).__name__) from error
        telemetry.REQUESTS.labels(verb, plural, str(answer.status)).inc()
        self._note(answer.headers.get("Date"))
        return answer.status, content

    async def _connected(self) -> ApiClient:
        if self._client is None:
            configuration = await self._login()
            configuration.connection_pool_maxsize = 0  # AT_ONCE and the Leases: in the pool waiting would count as connecting
            configuration.client_session_kwargs = {"trust_env": False}  # the API server is inside the cluster
            if self._client is None:  # two calls may have logged in at once
                self._client = ApiClient(configuration)
                self._client.user_agent = FIELD_MANAGER
        return self._client

    async def _renew(self) -> None:
        """Other credentials for the same connections, which others are using."""
        try:
            fresh = await self._login()
        except (ConfigException, OSError):
            return
        client = await self._connected()
        client.configuration.api_key = fresh.api_key
        client.configuration.refresh_api_key_hook = fresh.refresh_api_key_hook

    def _note(self, date: str | None) -> None:
        self.answered = self._monotonic()
        try:
            self._dated = (parsedate_to_datetime(date or "").astimezone(UTC), self.answered)
        except (ValueError, OverflowError):
            return


def namespace_of(path: str) -> str:
    """ "" for a path that is in none."""
    return path.partition("/namespaces/")[2].partition("/")[0]


def answered(verb: str, plural: str, data: bytes) -> Raw:
    """What is no JSON came from somebody between us and the API server."""
    try:
        return read(data)
    except msgspec.DecodeError:
        raise Unavailable(verb, plural, "the answer is no JSON") from None


def read(data: bytes) -> Raw:
    found = decode(data) if data else {}
    return found if isinstance(found, dict) else {}


def failed(verb: str, plural: str, status: int, data: bytes) -> ApiError:
    """The error of an answer. Its message is the API server's own: it names objects and rules, never the data of a Secret."""
    try:
        told = str(read(data).get("message") or status)[:500]
    except msgspec.DecodeError:
        told = str(status)
    later = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return ERRORS.get(status, Unavailable if later else Refused)(verb, plural, told)
