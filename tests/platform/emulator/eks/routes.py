"""The paths that moto lacks. Which operation is meant follows from botocore's model, as for moto's own paths."""

from __future__ import annotations

from moto.eks import urls

urls.url_paths |= {
    "{0}/clusters/(?P<name>[^/]+)/(?P<rest>.+)$": urls.response.dispatch,
    "{0}/addons/supported-versions$": urls.response.dispatch,
}
