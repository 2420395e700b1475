"""How the API server is reached: the ServiceAccount's mount in a Pod, else KUBECONFIG."""

from __future__ import annotations

import dataclasses
import ssl

import aiohttp
import kopf

from sluice_operator.settings import Settings


class NoCredentials(Exception):
    """Neither a ServiceAccount is mounted nor is there a kubeconfig."""


def login(settings: Settings) -> kopf.ConnectionInfo:
    """Address and credentials, read again each time: tokens of ServiceAccounts are replaced every hour. Raises NoCredentials."""
    options = kopf.OperatorSettings()
    mounted = kopf.login_with_service_account(settings=options)
    if mounted is not None:
        return by_address(mounted, settings)
    configured = kopf.login_with_kubeconfig(settings=options)
    if configured is None:
        raise NoCredentials("there is no ServiceAccount in this Pod and KUBECONFIG is not set")
    return configured


def by_address(info: kopf.ConnectionInfo, settings: Settings) -> kopf.ConnectionInfo:
    """By the address that Kubernetes gives every Pod, which needs no DNS."""
    host = settings.kubernetes_service_host
    if host is None:
        return info
    host = f"[{host}]" if ":" in host else host
    return dataclasses.replace(info, server=f"https://{host}:{settings.kubernetes_service_port}")


def session(
    info: kopf.ConnectionInfo, response_class: type[aiohttp.ClientResponse] = aiohttp.ClientResponse
) -> aiohttp.ClientSession:
    """An HTTP session with these credentials. No proxy of the environment: the API server is inside the cluster."""
    context = info.as_ssl_context()
    # From Python 3.13 on it is set, and refuses a certificate without an Authority Key Identifier, as those of EKS are.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=context),
        headers={**info.as_http_headers(), "User-Agent": "sluice-operator"},
        response_class=response_class,
        trust_env=False,
    )
