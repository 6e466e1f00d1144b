"""Eight emulated CPU devices for every test, compilations kept, and the folder of golden cases."""

import gc
import os
import pathlib
import shutil
from importlib.metadata import version

# Before jax is imported: without it XLA's CPU collectives can hang on two cores.
os.environ.setdefault("PJRT_NPROC", "16")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Left to itself, XLA starts the collectives of one program in another order on each emulated
# device, and on two cores they wait for each other until it aborts.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_cpu_enable_concurrency_optimized_scheduler=false"
)
# The older way to compile fusions takes two thirds of the time. XLA aborts at a flag that it does
# not know, and jaxlib 0.12 no longer has this one.
if os.environ.get("JAX_DISABLE_MOST_OPTIMIZATIONS") and version("jaxlib").startswith("0.10."):
    os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)

GOLDENS = pathlib.Path(__file__).parent / "goldens"
KEPT_BYTES = 2**30
MOST_MAPS = 25_000  # of the 65,530 that Linux gives a process; beyond them XLA dies by a signal


def pytest_configure(config):
    """Keeps what XLA compiles, for other tests, the processes that they start and later runs."""
    if not hasattr(config, "cache"):
        return  # pytest -p no:cacheprovider
    folder = config.cache.mkdir("compilations")
    if not hasattr(config, "workerinput"):
        # Before workers read any. Each change of the code leaves entries that none reads again.
        _make_room(folder)
    settings = {
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": 0,
    }
    for name, value in settings.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)


def pytest_runtest_teardown(item, nextitem):
    """Forgets what was compiled before the process runs out of memory maps."""
    if nextitem is not None and nextitem.module is item.module:
        return
    maps = pathlib.Path("/proc/self/maps")
    if maps.exists() and len(maps.read_bytes().splitlines()) > MOST_MAPS:
        jax.clear_caches()
        gc.collect()


def _make_room(folder: pathlib.Path) -> None:
    if sum(entry.stat().st_size for entry in folder.iterdir()) > KEPT_BYTES:
        shutil.rmtree(folder)
        folder.mkdir()


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
