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
    message = "tokens = 10000 needs at least 6.0 GiB for 2 images at once, there are 1.0 GiB"
    with pytest.raises(UsageError, match=message):
        memory.check_prompt(PromptConfig(tokens=10_000, width=8), CFG, 2, 5)


def test_this_machine_has_memory():
    assert 2**27 < memory.available() < 2**45
