"""Tests of the Helm chart: what it renders, what it refuses, and that every branch of it was seen."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: judges of other makers over every set of values; make test-cluster runs them")
