"""FID's Inception network from its file: every name is used, and what is refused."""

import json

import numpy as np
import pytest

from maskgit_prompt import params
from maskgit_prompt.errors import UserError
from maskgit_prompt.importers import inception
from maskgit_prompt.importers.rules import Options
from tests.golden_models import FOLDER


def names() -> dict[str, np.ndarray]:
    """The names and shapes of the published file; its numbers are all 0 and take no memory."""
    listed = json.loads((FOLDER / "inception/fid_small_images/manifest.json").read_text())["params"]
    return {name: zeros(*entry["shape"]) for name, entry in listed.items()}


def zeros(*shape: int) -> np.ndarray:
    return np.broadcast_to(np.float32(0), shape)


def test_every_parameter_has_a_name():
    source = names()
    tree = params.flatten(inception.read(source, "FILE", Options())["features"].tree)
    assert len(tree) == len(source) == 94 * 5 + 2
    assert tree["blocks/6b/rows/7x7/convs/1/conv/kernel"].names == (
        "Mixed_6b.branch7x7_2.conv.weight",
    )
    assert tree["blocks/7b/rows/3x3_3x3/forks/1/norm/variance"].names == (
        "Mixed_7b.branch3x3dbl_3b.bn.running_var",
    )
    assert tree["stem/4/norm/mean"].names == ("Conv2d_3b_1x1.bn.running_mean",)


def test_counts_of_training_steps_are_not_read():
    counted = {"Mixed_5b.branch1x1.bn.num_batches_tracked": np.int64(3)}
    assert inception.read(names() | counted, "FILE", Options())["features"].cfg.logits == 1008


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s.pop("Mixed_6d.branch7x7dbl_4.bn.running_var"),
            "FILE does not fit the model: Mixed_6d.branch7x7dbl_4.bn.running_var is missing",
        ),
        (
            lambda s: s.update({"Mixed_5e.branch1x1.conv.weight": zeros(1, 2)}),
            "FILE does not fit the model: Mixed_5e.branch1x1.conv.weight (1, 2) is unexpected",
        ),
        (
            lambda s: s.update({"fc.weight": zeros(1000, 2048)}),
            "FILE does not fit the model: fc.weight (1000, 2048) becomes (2048, 1000), expected "
            "(2048, 1008)",
        ),
        (
            # The two forks of a block, exchanged.
            lambda s: s.update(
                {
                    "Mixed_7c.branch3x3_2a.conv.weight": s["Mixed_7c.branch3x3_2b.conv.weight"],
                    "Mixed_7c.branch3x3_2b.conv.weight": s["Mixed_7c.branch3x3_2a.conv.weight"],
                }
            ),
            "FILE does not fit the model: Mixed_7c.branch3x3_2a.conv.weight (384, 384, 3, 1) "
            "becomes (3, 1, 384, 384), expected (1, 3, 384, 384); Mixed_7c.branch3x3_2b",
        ),
        (
            lambda s: s.update({"AuxLogits.fc.weight": zeros(1000, 768)}),
            "FILE holds AuxLogits.fc.weight, expected FID's Inception network, which has none",
        ),
        (
            lambda s: s.pop(inception.SIGN),
            "FILE holds no Inception network of FID, expected Mixed_7c.branch_pool.conv.weight",
        ),
    ],
)
def test_what_does_not_fit(change, message):
    source = names()
    change(source)
    with pytest.raises(UserError) as caught:
        inception.read(source, "FILE", Options())
    assert str(caught.value).startswith(message)
    assert str(caught.value).isprintable()
