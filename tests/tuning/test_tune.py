"""How long tuning goes on."""

import pytest

from maskgit_prompt.config import defaults
from maskgit_prompt.tuning import tune


@pytest.mark.parametrize(
    ("epochs", "most", "images", "steps"),
    [
        (0.0, 300, 1000, 300),
        (3.0, 300, 1000, 94),  # 3,000 images in batches of 32
        (3.0, 90, 1000, 90),
        (100.0, 50_000, 1000, 3125),
        (0.001, 300, 10, 1),
    ],
)
def test_steps_by_the_size_of_the_set(epochs, most, images, steps):
    train = defaults.transfer().train
    train.update(epochs=epochs, steps=most, batch_size=32)
    assert tune.steps_of(train, images) == steps
