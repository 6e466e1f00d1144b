"""What each method trains, against the reference's own lists, and parameters by number."""

import re

import jax
import numpy as np
import pytest
from flax import nnx
from ml_collections import ConfigDict

from maskgit_prompt import backbones, config, params
from maskgit_prompt.errors import UsageError
from maskgit_prompt.importers import vit as importer
from maskgit_prompt.models import convnext, resnet, swin, vit
from maskgit_prompt.tasks.classification import plan, sizes
from maskgit_prompt.tasks.classification.protocols import Normalization
from maskgit_prompt.tuning import methods
from tests import tiny
from tests.golden_models import Case

# Our method and changes of the config -> what the reference calls it.
TYPES = {
    "linear": ("linear", {}),
    "linear mlp_num=2": ("linear", {"head.hidden": 2}),
    "partial-1": ("last_1", {}),
    "partial-2": ("last_2", {}),
    "tinytl-bias": ("bias", {}),
    "adapter": ("adapter", {"adapter.reduction": 4}),
    "prompt shallow": ("prompt", {"prompt.deep": False}),
    "prompt deep": ("prompt", {}),
    "prompt deep project": ("prompt", {"prompt.project": 12}),
    "prompt+bias shallow": ("prompt_bias", {"prompt.deep": False}),
    "prompt+bias deep": ("prompt_bias", {}),
    "end2end": ("full", {}),
    "prompt-noupdate shallow": ("prompt_noupdate", {"prompt.deep": False}),
    "prompt-noupdate deep": ("prompt_noupdate", {}),
    "cls": ("cls", {}),
    "cls-reinit": ("cls_reinit", {}),
    "cls+prompt shallow": ("prompt_cls", {"prompt.deep": False}),
    "cls+prompt deep": ("prompt_cls", {}),
    "cls-reinit+prompt shallow": ("prompt_cls_reinit", {"prompt.deep": False}),
    "cls-reinit+prompt deep": ("prompt_cls_reinit", {}),
}


def settings(method: str, changes: dict) -> ConfigDict:
    found = config.classify()
    found.update_from_flattened_dict({"method": method, "prompt.tokens": 5} | changes)
    return found


def trained(found: ConfigDict, encoder: vit.ViTConfig, classes: int) -> dict:
    """Flat shapes of what trains; statistics are renewed, not trained."""
    weights = params.outline(lambda rngs: vit.ViT(encoder, rngs=rngs))[1]
    made = sizes.of_config(found, encoder, classes)
    tree = {"encoder": weights, **sizes.outlines(made, weights)}
    method = methods.of_classifier(found.method, encoder.layers)
    patterns = plan.for_images(found, method, 100).trainable
    shapes = params.flatten(params.split(tree, patterns)[0])
    return {k: x for k, x in shapes.items() if not re.fullmatch(r"head/norms/.*/(mean|var.*)", k)}


def theirs(path: str, shape: tuple[int, ...], layers: int) -> set[str]:
    """The reference's names of a trained leaf of ours."""
    if found := re.fullmatch(r"(.*)\[(\d+):(\d+)\]", path):
        path, rows = found[1], range(int(found[2]), int(found[3]))
    else:
        rows = range(layers)
    last = {"kernel": "weight", "bias": "bias", "scale": "weight"}
    if found := re.fullmatch(r"head/(out|hidden|norms)/(?:(\d+)/)?(\w+)", path):
        kind, number, name = found.groups()
        if kind == "out":
            return {f"head.last_layer.{last[name]}"}
        place = 4 * int(number) + (2 if kind == "norms" else 0)
        return {f"head.projection.{place}.{last[name]}"}
    if found := re.fullmatch(r"adapter/layers/(down|up)/(\w+)", path):
        return {
            f"enc.transformer.encoder.layer.{i}.adapter_{found[1]}sample.{last[found[2]]}"
            for i in rows
        }
    if path.startswith("prompt/dense/"):
        return {f"enc.transformer.prompt_proj.{last[path.split('/')[-1]]}"}
    if path == "prompt/positions":
        deep = shape[0] > 5
        return {"enc.transformer.prompt_embeddings"} | (
            {"enc.transformer.deep_prompt_embeddings"} if deep else set()
        )
    ours = path.removeprefix("encoder/")
    names = set()
    for name in Case("vpt/transfer_types").config["trainable"]["end2end"]:
        for rule in importer.google(4):
            if (match := re.fullmatch(rule.pattern, name)) and match.expand(rule.ours) == ours:
                layer = match.groupdict().get("layer")
                if layer is None or int(layer) in rows:
                    names.add(name)
    return names


@pytest.mark.parametrize("name", TYPES)
def test_what_trains_is_what_the_reference_trains(name):
    case = Case("vpt/transfer_types")
    c = case.config
    encoder = vit.ViTConfig(
        image_size=c["image_size"],
        patch=c["patch"],
        width=c["hidden"],
        layers=c["layers"],
        heads=c["heads"],
        mlp=c["mlp"],
    )
    found = trained(settings(*TYPES[name]), encoder, c["classes"])
    names = set().union(*(theirs(p, x.shape, c["layers"]) for p, x in found.items()))
    assert names == set(c["trainable"][name])
    number = case["out_trained"][c["order"].index(name)]
    assert sum(np.prod(x.shape) for x in found.values()) == number


def test_every_list_of_the_reference_is_compared():
    assert set(TYPES) == set(Case("vpt/transfer_types").config["order"])
    assert len(TYPES) == 20


def test_a_class_token_that_begins_anew(tmp_path):
    from maskgit_prompt.devices import sharding
    from maskgit_prompt.tasks.classification.tuning import first_parameters

    mesh, backbone = sharding.make_mesh(), tiny.encoder()
    make = lambda method: plan.make_plan(settings(method, {}), backbone, mesh, tmp_path / "run")
    for method in ("cls", "prompt_cls", "prompt"):
        assert "encoder" not in first_parameters(make(method), 0)
    for method in ("cls_reinit", "prompt_cls_reinit"):
        one = make(method)
        first, again, other = (first_parameters(one, seed)["encoder"] for seed in (0, 0, 1))
        assert first.keys() == {"class_token"} and first["class_token"].shape == (16,)
        assert 0 < np.abs(first["class_token"]).max() < 5e-6  # of a standard deviation of 1e-6
        np.testing.assert_array_equal(first["class_token"], again["class_token"])
        assert np.any(first["class_token"] != other["class_token"])
    with pytest.raises(UsageError, match="'prompt_cls' trains the class token, and swin has none"):
        methods.of_classifier("prompt_cls", (2, 2), "swin")


@pytest.mark.parametrize(
    "name, method, changes",
    [
        ("linear", "linear", {}),
        ("end2end", "full", {}),
        ("partial-1", "last_1", {}),
        ("tinytl-bias", "bias", {}),
        ("prompt shallow", "prompt", {"prompt.deep": False}),
        ("prompt deep", "prompt", {}),
        ("adapter reduction=8", "adapter", {}),
    ],
)
def test_numbers_of_the_published_size(name, method, changes):
    expected = Case("vpt/transfer_types").config["vit_b16_5_prompts_397_classes"][name]
    found = trained(settings(method, changes), vit.CONFIGS["B/16"], 397)
    assert sum(int(np.prod(x.shape)) for x in found.values()) == expected


def test_the_last_blocks_of_stages():
    layers = swin.CONFIGS["T"].layers
    assert layers == (2, 2, 6, 2)
    one, four = (methods.of_classifier(f"last_{n}", layers).trainable for n in (1, 4))
    assert one == ("encoder/stages/3/blocks/.*[-1:]", "encoder/norm/.*", "head/.*")
    assert four == (
        "encoder/stages/3/blocks/.*[-2:]",
        "encoder/stages/2/merge/.*",
        "encoder/stages/2/blocks/.*[-2:]",
        "encoder/norm/.*",
        "head/.*",
    )
    with pytest.raises(UsageError, match="config.method = 'last_4', but the encoder has 3 blocks"):
        methods.of_classifier("last_4", 3)
    with pytest.raises(UsageError, match="config.method = 'lobra', expected one of prompt, linear"):
        methods.of_classifier("lobra", 3)


RESNET = "encoder/stages/{}/{}/.*"
NO_AVERAGES = r"!encoder/.*/(mean|variance)"


@pytest.mark.parametrize(
    "method, kind, expected",
    [
        ("linear", "resnet", ("head/.*",)),
        ("prompt", "resnet", ("prompt/.*", "head/.*")),
        ("full", "resnet", (NO_AVERAGES, "encoder/.*", "head/.*")),
        ("last_1", "resnet", (NO_AVERAGES, RESNET.format(3, 2), "head/.*")),
        (
            "last_4",
            "resnet",
            (
                NO_AVERAGES,
                *(RESNET.format(3, i) for i in (2, 1, 0)),
                RESNET.format(2, 5),
                "head/.*",
            ),
        ),
        (
            "last_4",
            "convnext",
            (
                "encoder/stages/3/blocks/.*[-3:]",
                "encoder/stages/2/merge/.*",
                "encoder/stages/2/blocks/.*[-1:]",
                "encoder/norm/.*",
                "head/.*",
            ),
        ),
    ],
)
def test_patterns_for_convolutional_networks(method, kind, expected):
    layers = {"resnet": resnet.CONFIGS["50"], "convnext": convnext.CONFIGS["B"]}[kind].layers
    assert methods.of_classifier(method, layers, kind).trainable == expected


@pytest.mark.parametrize(
    "method, kind, expected",
    [
        # Of each block one bias per norm or layer; a shortcut's norm where the width changes.
        ("bias", "resnet", {"norm/bias", *(f"stages/{s}/0/{n}/bias" for s in range(4)
            for n in ("norm1", "norm2", "norm3", "shortcut_norm"))}),
        ("norm", "resnet", {f"{n}/{x}" for x in ("bias", "scale") for n in ("norm",
            *(f"stages/{s}/0/{n}" for s in range(4)
              for n in ("norm1", "norm2", "norm3", "shortcut_norm")))}),
        ("norm", "convnext", {f"{n}/{x}" for x in ("bias", "scale") for n in ("norm", "patch_norm",
            "stages/0/merge/norm", "stages/0/blocks/norm", "stages/1/blocks/norm")}),
        ("last_1", "convnext", {"norm/bias", "norm/scale", *(f"stages/1/blocks/{n}[1:2]" for n in
            ("depthwise/kernel", "depthwise/bias", "norm/bias", "norm/scale", "mlp/up/kernel",
             "mlp/up/bias", "mlp/down/kernel", "mlp/down/bias", "scales"))}),
    ],
)  # fmt: skip
def test_what_trains_of_convolutional_networks(method, kind, expected):
    weights = backbones.abstract(backbones.make_module(kind, tiny.ENCODERS[kind]))
    tree = {"encoder": weights, "head": {"out": {"bias": jax.ShapeDtypeStruct((3,), "f4")}}}
    patterns = methods.of_classifier(method, tiny.ENCODERS[kind].layers, kind).trainable
    found = params.flatten(params.split(tree, patterns)[0])
    assert found.keys() == {"head/out/bias", *(f"encoder/{path}" for path in expected)}


def test_low_rank_updates_start_as_nothing_and_both_move():
    from maskgit_prompt.tuning import lora

    cfg = lora.LoRAConfig(rank=2, alpha=4.0, targets=r".*attention/(query|out)/kernel|.*mlp/up/k.*")
    weights = tiny.encoder().part("encoder").tree
    tree = lora.init(cfg, weights, jax.random.key(0))
    shapes = {path: x.shape for path, x in params.flatten(tree).items()}
    assert shapes == {
        "blocks/attention/query/down": (3, 16, 2),
        "blocks/attention/query/up": (3, 2, 16),
        "blocks/attention/out/down": (3, 16, 2),
        "blocks/attention/out/up": (3, 2, 16),
        "blocks/mlp/up/down": (3, 16, 2),
        "blocks/mlp/up/up": (3, 2, 32),
    }
    jax.tree.map(np.testing.assert_array_equal, lora.applied(cfg, weights, tree), weights)
    moved = jax.tree.map(lambda x: x + 1.0, tree)
    changed = lora.applied(cfg, weights, moved)["blocks"]
    # Row i of an up of ones: (α / R) · Σ_r (down + 1).
    added = 2.0 * (tree["blocks"]["mlp"]["up"]["down"] + 1).sum(-1)
    np.testing.assert_allclose(
        changed["mlp"]["up"]["kernel"] - weights["blocks"]["mlp"]["up"]["kernel"],
        np.broadcast_to(added[..., None], (3, 16, 32)),
        rtol=1e-4,
        atol=1e-5,
    )
    with pytest.raises(ValueError, match="targets = 'nothing' match no parameter"):
        lora.init(lora.LoRAConfig(targets="nothing"), weights, jax.random.key(0))
    with pytest.raises(ValueError, match="is not the kernel of a dense layer"):
        lora.init(lora.LoRAConfig(targets=".*bias"), weights, jax.random.key(0))


def test_prompts_start_within_the_papers_bound():
    assert sizes.bound(16, 768) == 0.0625
    found = sizes.of_config(settings("prompt", {}), vit.CONFIGS["B/16"], 3)
    assert found.prompt.uniform == 0.0625 and found.prompt.depth == 12
    projected = sizes.of_config(settings("prompt", {"prompt.project": 100}), vit.CONFIGS["B/16"], 3)
    assert projected.prompt.uniform == pytest.approx((6 / (3 * 256 + 100)) ** 0.5)
    top = sizes.of_config(
        settings("prompt", {"prompt.blocks": 3, "prompt.end": "top"}), vit.CONFIGS["B/16"], 3
    )
    assert (top.prompt.depth, top.placing.first) == (3, 9)
    staged = sizes.of_config(settings("prompt", {}), swin.CONFIGS["T"], 3, "swin")
    assert staged.prompt.stages == (2, 2, 6, 2)
    assert staged.prompt.uniform == pytest.approx((6 / (3 * 16 + 96)) ** 0.5)


@pytest.mark.parametrize(
    "method, changes, kind, message",
    [
        ("prompt", {"prompt.blocks": 4}, "vit", "prompt.blocks = 4, expected 0 to the 3 that ther"),
        (
            "prompt",
            {"prompt.location": "middle"},
            "vit",
            "prompt.location = 'middle', expected one of pre",
        ),
        (
            "prompt",
            {"prompt.location": "pad"},
            "vit",
            "config.prompt.tokens = 5 makes images of 26 pixels a side, which patches of 8 do not "
            "divide; expected a multiple of 4",
        ),
        ("prompt", {"prompt.end": "left"}, "vit", "prompt.end = 'left', expected bottom or top"),
        ("prompt", {"prompt.tokens": 0}, "vit", "config.prompt.tokens = 0, expected at least 1"),
        ("adapter", {"adapter.reduction": 32}, "vit", "config.adapter.bottleneck = 0, expected 1"),
        ("adapter", {}, "swin", "config.method = 'adapter' is for encoders of one width, not swin"),
        ("lora", {"lora.rank": 0}, "vit", "config.lora.rank = 0, expected at least 1"),
        ("prompt", {}, "resnet", "config.prompt.location = 'prepend', expected pad: a convolution"),
        ("adapter", {}, "convnext", "'adapter' is for encoders of one width, not convnext"),
        ("linear", {"head.hidden": -1}, "vit", "config.head.hidden = -1, expected at least 0"),
    ],
)
def test_sizes_that_do_not_fit(method, changes, kind, message):
    with pytest.raises(UsageError, match=message):
        sizes.of_config(settings(method, changes), tiny.ENCODERS[kind], 3, kind)


def test_what_follows_from_the_number_of_images():
    found = config.classify()
    method = methods.of_classifier("linear", 3)
    tuning = plan.for_images(found, method, 1000)
    assert (tuning.train.steps, tuning.optimizer.warmup_steps) == (1563, 156)
    assert tuning.optimizer.learning_rate == 0.25 * 64 / 256
    assert tuple(tuning.trainable) == ("head/.*",)
    found.optimizer.scaled, found.optimizer.warmup_epochs = False, 0.0
    tuning = plan.for_images(found, method, 1000)
    assert (tuning.optimizer.learning_rate, tuning.optimizer.warmup_steps) == (0.25, 0)


def test_parameters_in_place_of_slices():
    tree = {"blocks": {"a": np.zeros((3, 2)), "b": np.zeros(3)}, "norm": np.zeros(2)}
    parts = {"blocks": {"a[1:3]": np.ones((2, 2))}, "norm": np.full(2, 5.0)}
    found = params.overlaid(tree, parts)
    assert np.asarray(found["blocks"]["a"]).tolist() == [[0, 0], [1, 1], [1, 1]]
    assert found["norm"].tolist() == [5, 5] and found["blocks"]["b"].tolist() == [0, 0, 0]
    with pytest.raises(KeyError, match="head"):
        params.overlaid(tree, {"head": np.ones(1)})


def test_prompts_that_start_as_patches(tmp_path):
    from maskgit_prompt.devices import sharding
    from maskgit_prompt.tasks.classification import starting
    from maskgit_prompt.tasks.classification.tuning import first_parameters

    x = np.float32([[0, 0], [0.1, 0], [5, 5], [5, 5.1], [4.9, 5.0]])
    found = starting.nearest(x, 2, 0)
    assert sorted(found.sum(1).round(1).tolist()) in ([0.0, 10.0], [0.1, 10.0])
    assert starting.nearest(x[:1], 3, 0).tolist() == [[0, 0]] * 3
    found = settings("prompt", {"prompt.start": "patches", "prompt.blocks": 2, "prompt.end": "top"})
    mesh, backbone = sharding.make_mesh(), tiny.encoder()
    made = plan.make_plan(found, backbone, mesh, tmp_path / "run")
    table = np.asarray(first_parameters(made, 0)["prompt"]["positions"])
    assert table.shape == (2 * 5, 16)
    # Each is an input of its block: a patch of some image after the first block, then the second.
    model = made.model
    encoder = nnx.merge(model.encoder, jax.tree.map(np.asarray, backbone.part("encoder").tree))
    pixels = made.data.images.read(made.data.tune)
    _, outputs = encoder.hidden(model.normalization(pixels), keep_layers=True)
    for block in (0, 1):
        inputs = np.asarray(outputs[block])[:, 1:].reshape(-1, 16)
        for token in table[5 * block : 5 * block + 5]:
            assert np.abs(inputs - token).max(1).min() < 1e-4


@pytest.mark.parametrize(
    "changes, place, shape",
    [
        ({"prompt.location": "add"}, "added", (2, 3, 5, 16)),
        ({"prompt.location": "add", "prompt.deep": False}, "added", (2, 1, 5, 16)),
        ({"prompt.location": "add-1"}, "added", (2, 3, 1, 16)),
        ({"prompt.location": "pixel"}, "patches", (2, 5, 8, 8, 3)),
        ({"prompt.location": "pad", "prompt.tokens": 4}, "frame", (2, 24, 24, 3)),
        ({"prompt.location": "below"}, "added", (2, 1, 5, 16)),
    ],
)
def test_prompts_at_other_locations(changes, place, shape):
    made = sizes.of_config(settings("prompt", changes), tiny.ENCODER, 3)
    part, seen = tiny.encoder().part("encoder"), []
    model = sizes.classifier(made, part.graphdef(), Normalization())
    tree = {"encoder": part.tree, **sizes.initial(made, part.tree, jax.random.key(0))}
    real = vit.ViT.hidden

    def hidden(self, images, prompt, **how):
        seen.append(prompt)
        return real(self, images, prompt, **how)

    images = np.zeros((2, 16, 16, 3), np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vit.ViT, "hidden", hidden)
        assert model.logits(tree, {"images": images}).shape == (2, 3)
    assert seen[0].place == place and seen[0].array.shape == shape
