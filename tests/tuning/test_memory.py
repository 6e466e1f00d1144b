"""What a prompt needs at the least, by hand, and the message where there is less."""

import pytest

from maskgit_prompt.errors import UsageError
from maskgit_prompt.models.masked import MaskedConfig
from maskgit_prompt.models.prompt import PromptConfig
from maskgit_prompt.tuning import memory

CFG = MaskedConfig(codebook=4, classes=2, length=5, width=8, layers=6, heads=4, mlp=8)


def test_needed_by_hand():
    tokens = PromptConfig(tokens=3, width=8)
    assert memory.needed(tokens, CFG, 2, 5) == 4 * 1792
    prefix = PromptConfig(tokens=3, width=8, depth=6, prefix=True)
    assert memory.needed(prefix, CFG, 2, 5) == 4 * (2 * 320 + 480 + 3 * 576) == 4 * 2848


def test_refused_with_figures(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 2**30)
    memory.check_prompt(PromptConfig(tokens=1000, width=8), CFG, 2, 5)
    # 2 · 2 · 4 · 10,005² · 4 bytes and 6 · 2 · 10,005 · 8 · 4 are 5.97 GiB.
    message = "tokens = 10000 needs at least 6.0 GiB for 2 images at once, but 1.0 GiB are free"
    with pytest.raises(UsageError, match=message):
        memory.check_prompt(PromptConfig(tokens=10_000, width=8), CFG, 2, 5)


def test_this_machine_has_memory():
    assert 2**27 < memory.available() < 2**45


def test_the_fullest_device_counts(monkeypatch):
    class Device:
        def __init__(self, stats):
            self.memory_stats = lambda: stats

    devices = [{"peak_bytes_in_use": 7, "bytes_in_use": 9}, {"peak_bytes_in_use": 8}, None]
    monkeypatch.setattr(memory.jax, "local_devices", lambda: [Device(x) for x in devices])
    found = memory.peaks()
    assert found.keys() == {"host_peak_bytes", "device_peak_bytes"}
    assert found["device_peak_bytes"] == 8


def test_devices_without_memory_of_their_own_are_left_out():
    before = memory.peaks()
    assert before.keys() == {"host_peak_bytes"}
    held = bytearray(2**28)
    held[:: 2**12] = b"x" * len(held[:: 2**12])
    # Bytes, not KiB: so much more is in use than before, unless something larger was.
    assert memory.peaks()["host_peak_bytes"] >= max(before["host_peak_bytes"], len(held))
