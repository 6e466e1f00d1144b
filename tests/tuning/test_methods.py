"""What each method trains of the tiny transformers, by names and counts.

Both have two layers of width 16, two heads and an MLP of 32. Parameters of a layer:

  attention   kernels 4 · 16 · 16, biases 4 · 16
  mlp         kernels 2 · 16 · 32, biases 32 + 16
  norms       2 · (16 scales + 16 biases)

in all 2,224 numbers. The masked one has 24 codes, 9 classes and a masked token, the causal one 24
rows of codes and labels.
"""

import numpy as np
import pytest

from maskgit_prompt import params
from maskgit_prompt.errors import UsageError
from maskgit_prompt.tuning.methods import METHODS
from tests import tiny

LAYER_BIASES = 4 * 16 + 32 + 16 + 2 * 16
LAYER = 4 * 256 + 2 * 512 + LAYER_BIASES + 2 * 16
WORDS = {"masked": len(tiny.backbone().classes) + 24 + 1, "causal": 24}
# Dense and its norm, and a bias for every word; of a causal one a kernel alone.
HEADS = {"masked": 256 + 16 + 32 + WORDS["masked"], "causal": 16 * 24}


def trained(method: str, kind: str) -> dict[str, int]:
    """The sizes of what is trained of the transformer; a prompt of one number is, too."""
    tree = tiny.backbone(kind=kind).part("transformer").tree
    model = {"transformer": tree, "prompt": {"x": np.zeros(1, np.float32)}}
    found, _ = params.split(model, METHODS[method].trainable)
    assert found.pop("prompt").keys() == {"x"}
    return {path: x.size for path, x in params.flatten(found.get("transformer", {})).items()}


@pytest.mark.parametrize("kind", ["masked", "causal"])
@pytest.mark.parametrize(
    ("method", "count"),
    [
        ("prompt", lambda kind: 0),
        ("head", HEADS.get),
        # The norm before the blocks, and that in the head; of a causal one, that before the head.
        (
            "bias",
            {
                "masked": 2 * LAYER_BIASES + 16 + (16 + 16 + WORDS["masked"]),
                "causal": 2 * LAYER_BIASES + 16,
            }.get,
        ),
        ("norm", {"masked": 4 * 32 + 2 * 32, "causal": 4 * 32 + 32}.get),
        ("last_1", lambda kind: LAYER + HEADS[kind] + 32 * (kind == "causal")),
        ("last_2", lambda kind: 2 * LAYER + HEADS[kind] + 32 * (kind == "causal")),
    ],
)
def test_how_much_is_trained(method, kind, count):
    assert sum(trained(method, kind).values()) == count(kind)


def test_full_is_everything():
    for kind in ("masked", "causal"):
        tree = tiny.backbone(kind=kind).part("transformer").tree
        for method in ("full", "scratch"):
            assert trained(method, kind).keys() == params.flatten(tree).keys()


@pytest.mark.parametrize(
    ("method", "outside", "inside"),
    [
        (
            "head",
            {"head/dense/kernel", "head/dense/bias", "head/norm/scale", "head/norm/bias"}
            | {"head/bias"},
            set(),
        ),
        (
            "bias",
            {"embedding_norm/bias", "head/dense/bias", "head/norm/bias", "head/bias"},
            {"attention/query/bias", "attention/key/bias", "attention/value/bias"}
            | {"attention/out/bias", "attention_norm/bias", "mlp/up/bias", "mlp/down/bias"}
            | {"mlp_norm/bias"},
        ),
        (
            "norm",
            {"embedding_norm/scale", "embedding_norm/bias", "head/norm/scale", "head/norm/bias"},
            {"attention_norm/scale", "attention_norm/bias", "mlp_norm/scale", "mlp_norm/bias"},
        ),
    ],
)
def test_names_that_are_trained_of_a_masked_transformer(method, outside, inside):
    assert trained(method, "masked").keys() == outside | {f"blocks/{name}" for name in inside}


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("head", {"head/kernel"}),
        (
            "norm",
            {"norm/scale", "norm/bias"}
            | {
                f"blocks/{norm}/{x}"
                for norm in ("attention_norm", "mlp_norm")
                for x in ("scale", "bias")
            },
        ),
    ],
)
def test_names_that_are_trained_of_a_causal_transformer(method, names):
    assert trained(method, "causal").keys() == names


def test_the_last_layer_is_a_slice():
    blocks = {name for name in trained("last_1", "masked") if name.startswith("blocks/")}
    assert len(blocks) == 16 and all(name.endswith("[1:2]") for name in blocks)
    # All of two layers are whole parameters.
    assert "blocks/mlp/up/kernel" in trained("last_2", "masked")
    with pytest.raises(UsageError, match=r"\[-4:\]' is out of range: .* has 2 layers"):
        trained("last_4", "masked")


def test_titles_tell_methods_apart():
    assert len({method.title for method in METHODS.values()}) == len(METHODS)
    assert METHODS["last_1"].title == "prompt and the last layer"
    assert METHODS["last_2"].images == "generated after tuning of prompt and the last 2 layers"
