"""The rights of the chart's Role are those that operators used in this run: halves.py puts this file last.

The calls that count are those of all operators, in Pods and beside them, of every test that ran before.
"""

from __future__ import annotations

import pytest
from tests.operator import account
from tests.operator.calls import Recorder, granted, used
from tests.operator.whole import why_not_whole

pytestmark = [pytest.mark.timeout(900), pytest.mark.usefixtures("alone")]


def test_the_operator_asks_for_nothing_that_the_chart_does_not_allow(recorder: Recorder) -> None:
    assert used(recorder.events()) - granted(account.rules()) == set()


def test_the_chart_allows_nothing_that_the_operator_does_not_use(recorder: Recorder, request: pytest.FixtureRequest) -> None:
    if (why := why_not_whole(request)) is not None:
        pytest.skip(f"{why}; to get it: make test-operator, all of it")
    assert granted(account.rules()) - used(recorder.events()) == set()
