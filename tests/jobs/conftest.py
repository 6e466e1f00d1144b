"""One tiny backbone for all jobs, and compilations kept from one job to the next."""

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from tests import tiny


@pytest.fixture(scope="session")
def backbone(tmp_path_factory) -> str:
    return tiny.write(tmp_path_factory.mktemp("backbone") / "tiny")


@pytest.fixture(scope="package", autouse=True)
def kept_compilations(tmp_path_factory):
    settings = {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("compilations")),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": 0,
    }
    before = {name: jax.config.values[name] for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()  # it looks at the settings once
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
