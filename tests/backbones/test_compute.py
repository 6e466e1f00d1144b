"""Settings that depend on the machine are refused before a run has written anything."""

import sys
import types

import jax
import pytest

from maskgit_prompt.backbones.compute import Compute
from maskgit_prompt.config import defaults
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import UsageError
from maskgit_prompt.models import attention
from tests import tiny


def check(name: str, dtype: str = "float32", devices: int = 1) -> None:
    config = defaults.transfer()
    config.update({"attention": name, "dtype": dtype})
    mesh = sharding.make_mesh(devices=jax.devices()[:devices])
    Compute.of(config).check(tiny.TRANSFORMER, mesh)


def test_attention_that_is_not_for_this_machine(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokamax", None)
    with pytest.raises(UsageError, match="config.attention = 'tokamax', but tokamax is not inst"):
        check("tokamax")
    with pytest.raises(UsageError, match="config.attention = 'cudnn' needs an NVIDIA GPU"):
        check("cudnn", "bfloat16")
    monkeypatch.setattr(attention, "backend", lambda: "cuda")
    with pytest.raises(UsageError, match="'cudnn' needs dtype bfloat16 or float16, not float32"):
        check("cudnn", "float32")
    check("cudnn", "bfloat16")  # heads of 16 / 2 = 8
    for name in ("auto", "xla"):
        check(name, devices=8)


def test_tokamax_is_for_one_device(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokamax", types.SimpleNamespace())
    check("tokamax")
    with pytest.raises(UsageError, match="'tokamax' is for one device, the mesh has 8"):
        check("tokamax", devices=8)
