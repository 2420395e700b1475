"""The optional functions: each is a package of its own beside ingest, imported here for its routes.

A function declares its routes with `http.routes.route`, keeps its rows by `stores.database`, and knows no other function.
"""

from sluice.console import pages as console
from sluice.erasure import routes as erasure
from sluice.error_groups import routes as error_groups
from sluice.sources import routes as sources
from sluice.tail import routes as tail
from sluice.tasks import routes as tasks

__all__ = ["console", "erasure", "error_groups", "sources", "tail", "tasks"]
