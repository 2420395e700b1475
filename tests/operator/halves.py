"""The suite in parts that two processes can run side by side: each part has what belongs to the whole cluster for itself."""

from __future__ import annotations

# They install the chart, and with it the kinds and policies of all namespaces.
RELEASES = ("test_bootstrap.py", "test_rights.py", "test_samples.py", "test_samples_recipe.py", "test_uninstall.py")
# Processes beside the cluster again, for whichever process of xdist is the first to be done with its part.
LATER = ("test_lifecycle.py", "test_namespaces.py", "test_others.py", "test_restored.py")
# They restart the API server, or look back at all calls: in this order, when all else is over (conftest.alone).
LAST = ("test_restart.py", "test_calls.py")


def part(file: str) -> str:
    """Of `file`, the name of one with tests."""
    named = {"last": LAST, "releases": RELEASES, "later": LATER}
    return next((part for part, files in named.items() if file in files), "processes")


def order(file: str) -> int:
    return LAST.index(file) + 1 if file in LAST else 0
