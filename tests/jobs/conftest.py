"""One tiny backbone for all jobs."""

import pytest

from tests import tiny


@pytest.fixture(scope="session")
def backbone(tmp_path_factory) -> str:
    return tiny.write(tmp_path_factory.mktemp("backbone") / "tiny")
