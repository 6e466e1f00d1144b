"""Published settings per task: what they say, and that a sweep of one gets its own."""

import pytest

from maskgit_prompt import config as defaults
from maskgit_prompt.config import published_settings, rules
from maskgit_prompt.data.sets import vtab
from maskgit_prompt.errors import UsageError
from maskgit_prompt.tasks.classification.sweep import Grid


def asked(arg: str, **changes):
    found = defaults.vpt_vtab(defaults.sweep(), arg, "vpt_vtab.py")
    found.update_from_flattened_dict(changes)
    return found


def test_every_value_is_of_a_task_and_has_a_source():
    for settings in published_settings.SETTINGS.values():
        assert settings.keys() <= vtab.BY_NAME.keys()
        for one in settings.values():
            assert "demo.ipynb" in one.source and "4410440" in one.source


def test_rates_are_told_before_they_are_scaled():
    """Those of the demo are final: 0.25 in batches of 64 is 1 · 64 / 256."""
    found = published_settings.SETTINGS["vpt-demo"]
    assert {name: one.rate for name, one in found.items()} == {
        "dmlab": 1.0,
        "eurosat": 1.0,
        "sun397": 25.0,
    }
    assert all(one.rate in defaults.sweep().sweep.learning_rates for one in found.values())


def test_each_task_has_its_own():
    config = asked("dmlab,sun397,settings=vpt-demo")
    rules.check(config)
    dmlab, sun = (published_settings.applied(config, name) for name in ("dmlab", "sun397"))
    assert Grid.of(dmlab) == Grid((100,), (1.0,), (1e-3,), (42, 44, 82, 100, 800), 12)
    assert Grid.of(sun) == Grid((5,), (25.0,), (1e-4,), (42, 44, 82, 100, 800), 12)
    assert (dmlab.train.batch_size, sun.train.batch_size) == (64, 128)
    assert (dmlab.prompt.dropout, sun.optimizer.scaled) == (0.1, True)
    assert config.sweep.tokens == (1, 5, 10, 50)  # as it was
    plain = asked("dmlab")
    assert published_settings.applied(plain, "dmlab") is plain


@pytest.mark.parametrize(
    "arg, task, changes, message",
    [
        ("svhn,settings=vpt-demo", "svhn", {}, "has none for svhn; it has dmlab, eurosat, sun397"),
        ("settings=vpt-demo,method=linear", "dmlab", {}, "is for deep prompts; set config.method"),
        ("settings=vpt-demo", "dmlab", {"prompt.deep": False}, "is for deep prompts; set config.m"),
    ],
)
def test_settings_that_there_are_not(arg, task, changes, message):
    with pytest.raises(UsageError, match=message):
        published_settings.applied(asked(arg, **changes), task)


@pytest.mark.parametrize(
    "arg, changes, message",
    [
        ("settings=demo", {}, "config.sweep.settings = 'demo', expected vpt-demo"),
        ("settings=vpt-demo", {"sweep.tokens": (3,)}, "the published settings set it; leave it ou"),
        ("settings=vpt-demo", {"optimizer.scaled": False}, "the published settings set it; leave"),
    ],
)
def test_settings_without_a_use(arg, changes, message):
    with pytest.raises(UsageError, match=message):
        rules.check(asked(arg, **changes))


def test_settings_are_for_the_tasks_of_vtab():
    config = defaults.sweep()
    config.sweep.settings = "vpt-demo"
    with pytest.raises(UsageError, match="or set config.data.name to vtab"):
        rules.check(config)
