"""Eight emulated CPU devices for every test, and the folder of golden cases."""

import os
import pathlib

# Before jax is imported: without it XLA's CPU collectives can hang on two cores.
os.environ.setdefault("PJRT_NPROC", "16")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)

GOLDENS = pathlib.Path(__file__).parent / "goldens"


@pytest.fixture
def goldens() -> pathlib.Path:
    return GOLDENS


@pytest.fixture(scope="session")
def vtab_data(tmp_path_factory) -> pathlib.Path:
    """Small data sets of all of VTAB's builders, 24 examples a split; not to be changed."""
    from tests import prepared

    folder = tmp_path_factory.mktemp("tfds")
    prepared.write_all(folder)
    return folder


@pytest.fixture
def server(monkeypatch):
    """A server on this machine, see tests/serving.py."""
    from tests.serving import serving

    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    with serving() as found:
        yield found


@pytest.fixture
def cache_home(tmp_path, monkeypatch) -> pathlib.Path:
    """The folder of what is fetched, not yet made."""
    from maskgit_prompt.storage import cache

    monkeypatch.setenv(cache.ENVIRONMENT, str(tmp_path / "cache"))
    return tmp_path / "cache"
