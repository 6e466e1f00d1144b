"""Charts by what they show."""

import pytest

from tests.report.reading import Chart, capture


@pytest.fixture
def charts(monkeypatch) -> list[Chart]:
    """The charts that are drawn, in order; what is stored in their place is one small PNG."""
    return capture(monkeypatch)
