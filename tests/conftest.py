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
