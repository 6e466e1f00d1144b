"""What tests of several readers use."""

import pytest
from absl import logging


@pytest.fixture
def warnings(monkeypatch):
    """The warnings so far."""
    lines = []
    monkeypatch.setattr(logging, "warning", lambda text, *args: lines.append(text % args))
    return lines
