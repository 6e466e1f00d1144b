"""Vision transformers against VPT's reference implementation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from maskgit_prompt import params
from maskgit_prompt.importers import vit as importer
from maskgit_prompt.models import adapter, pixel_prompt, vit
from maskgit_prompt.models.head import Head, HeadConfig
from maskgit_prompt.models.layers import run_blocks
from maskgit_prompt.models.prompts import Prompt
from maskgit_prompt.tasks.classification import protocols
from maskgit_prompt.tasks.classification.model import Placing
from tests import golden_models
from tests.golden_models import Case, close

LAYER, STACK = 1e-5, 1e-4


def config(case: Case, **kwargs) -> vit.ViTConfig:
    c = case.config
    return vit.ViTConfig(
        image_size=c["image_size"],
        patch=c["patch"],
        width=c["hidden"],
        layers=c["layers"],
        heads=c["heads"],
        mlp=c["mlp"],
        **kwargs,
    )


def google(case: Case, cfg: vit.ViTConfig) -> vit.ViT:
    ours = ("cls", "embedding/", "Transformer/")
    named = {name: x for name, x in case.parameters.items() if name.startswith(ours)}
    graphdef, tree = golden_models.tree(
        named, importer.google(cfg.grid), lambda rngs: vit.ViT(cfg, rngs=rngs)
    )
    return nnx.merge(graphdef, tree)


def pytorch(case: Case, cfg: vit.ViTConfig) -> vit.ViT:
    named = {n: x for n, x in case.parameters.items() if not n.startswith(("enc.", "head."))}
    graphdef, tree = golden_models.tree(
        named, importer.pytorch(cfg.heads, cfg.grid), lambda rngs: vit.ViT(cfg, rngs=rngs)
    )
    return nnx.merge(graphdef, tree)


def prompt_of(case: Case, beginning: str = "enc.transformer.") -> dict[str, np.ndarray]:
    return {
        name.removeprefix(beginning): x
        for name, x in case.parameters.items()
        if name.startswith(beginning)
    }


def placed(tensors: dict, images: np.ndarray) -> Prompt | None:
    """The case's prompt for every image."""
    if not tensors:
        return None
    lift = lambda x: x
    if "prompt_proj.weight" in tensors:
        lift = lambda x: x @ tensors["prompt_proj.weight"].T + tensors["prompt_proj.bias"]
    first = lift(tensors["prompt_embeddings"])  # [1, P, D]
    repeat = lambda x: jnp.broadcast_to(x, (len(images), *x.shape))
    if "deep_prompt_embeddings" not in tensors:
        return Prompt(tokens=repeat(first[0]))
    return Prompt(layers=repeat(jnp.concatenate([first, lift(tensors["deep_prompt_embeddings"])])))


def logits(tensors: dict, features: jax.Array) -> jax.Array:
    return features @ tensors["last_layer.weight"].T + tensors["last_layer.bias"]


def check(case: Case, model: vit.ViT, beginning: str = "enc.transformer.") -> None:
    """Features, tokens, logits, loss and all gradients of a case."""
    images = case["in_images"]
    trained = {"prompt": prompt_of(case, beginning), "head": prompt_of(case, "head.")}

    def run(trained):
        x, outputs = model.hidden(images, placed(trained["prompt"], images), keep_layers=True)
        features = model.pooled(x)
        found = logits(trained["head"], features)
        loss = optax.losses.softmax_cross_entropy_with_integer_labels(found, case["in_labels"])
        return loss.mean(), (features, found, outputs)

    (loss, (features, found, outputs)), grads = jax.value_and_grad(run, has_aux=True)(trained)
    close(features, case["out_features"], STACK)
    close(found, case["out_logits"], STACK)
    close(loss, case["out_loss"], STACK)
    close(outputs[0], case["out_hidden_1"], LAYER)
    names = {"last_layer.weight": "head_weight", "last_layer.bias": "head_bias"}
    ours = {
        f"out_grad_{names.get(name, name.replace('.', '_'))}": grad
        for name, grad in (grads["prompt"] | grads["head"]).items()
    }
    assert ours.keys() == {name for name in case.arrays if name.startswith("out_grad_")}
    for name, grad in ours.items():
        close(grad, case[name], STACK)


@pytest.mark.parametrize("name", ["linear", "shallow", "deep", "deep_project"])
def test_supervised(name):
    case = Case(f"vpt/vit_{name}")
    model = google(case, config(case))
    check(case, model)
    if "out_encoded" in case.arrays:
        images = case["in_images"]
        x, _ = model.hidden(images, placed(prompt_of(case), images))
        close(model.norm(x), case["out_encoded"], STACK)


@pytest.mark.parametrize("name", ["shallow", "deep"])
def test_mae_pools_without_a_norm_and_with_the_prompt(name):
    case = Case(f"vpt/mae_{name}")
    check(case, pytorch(case, config(case, pool="all", norm="after")), "enc.")


def test_moco():
    case = Case("vpt/moco_deep")
    cfg = config(case)
    check(case, pytorch(case, cfg), "enc.")
    close(vit.fixed_positions(cfg.grid, cfg.width), case["out_sincos"][0], LAYER)


def test_positions_of_another_grid():
    case = Case("vpt/vit_resize")
    small = dataclasses.replace(config(case), image_size=8 * case.config["checkpoint_grid"])
    model, bigger = google(case, small), vit.ViT(config(case), rngs=nnx.Rngs(0))
    tree = nnx.to_pure_dict(nnx.state(model))
    table = vit.resize_positions(np.asarray(tree["positions"]), bigger.cfg.grid)
    close(table, case["out_position"][0], LAYER)
    model = nnx.merge(nnx.graphdef(bigger), tree | {"positions": table})
    images = case["in_images"]
    prompt = placed(prompt_of(case), images)
    close(model(images, prompt), case["out_features"], STACK)


def test_positions_go_corner_on_corner():
    table = np.float32([[9], [0], [2], [4], [6]])  # a grid of 2 x 2: 0 2 / 4 6
    expected = [9, 0, 1, 2, 2, 3, 4, 4, 5, 6]
    np.testing.assert_array_equal(vit.resize_positions(table, 3)[:, 0], expected)
    assert vit.resize_positions(table, 2) is table


def test_adapters():
    case = Case("vpt/vit_adapter")
    cfg = config(case)
    model = google(case, cfg)
    bottleneck = cfg.width // case.config["reduction"]
    made = adapter.Adapters(
        adapter.AdapterConfig(cfg.width, cfg.layers, bottleneck), rngs=nnx.Rngs(0)
    )
    graphdef = nnx.graphdef(made.layers)
    theirs = prompt_of(case, "enc.transformer.encoder.layer.")
    stacked = lambda name: jnp.stack([theirs[f"{i}.adapter_{name}"] for i in range(cfg.layers)])
    sampled = {"down": "downsample", "up": "upsample"}
    tree = {
        ours: {
            "kernel": stacked(f"{name}.weight").swapaxes(1, 2),
            "bias": stacked(f"{name}.bias"),
        }
        for ours, name in sampled.items()
    }
    images, head = case["in_images"], prompt_of(case, "head.")

    def run(trained):
        adapters = nnx.merge(graphdef, trained["adapters"])
        x, outputs = model.hidden(images, adapters=adapters, keep_layers=True)
        found = logits(trained["head"], model.pooled(x))
        loss = optax.losses.softmax_cross_entropy_with_integer_labels(found, case["in_labels"])
        return loss.mean(), (model.pooled(x), found, outputs)

    trained = {"adapters": tree, "head": head}
    (loss, (features, found, outputs)), grads = jax.value_and_grad(run, has_aux=True)(trained)
    close(features, case["out_features"], STACK)
    close(found, case["out_logits"], STACK)
    close(loss, case["out_loss"], STACK)
    close(outputs[0], case["out_hidden_1"], LAYER)
    for ours, name in sampled.items():
        for i in range(cfg.layers):
            which = f"out_grad_encoder_layer_{i}_adapter_{name}"
            close(grads["adapters"][ours]["kernel"][i].T, case[f"{which}_weight"], STACK)
            close(grads["adapters"][ours]["bias"][i], case[f"{which}_bias"], STACK)


def test_adapters_start_as_nothing_and_all_of_them_move():
    cfg = vit.ViTConfig(image_size=8, patch=4, width=8, layers=2, heads=2, mlp=16)
    model = vit.ViT(cfg, rngs=nnx.Rngs(0))
    made = adapter.Adapters(adapter.AdapterConfig(8, 2, 3), rngs=nnx.Rngs(1))
    images = np.random.default_rng(0).standard_normal((2, 8, 8, 3), np.float32)
    np.testing.assert_array_equal(model(images, adapters=made.layers), model(images))
    graphdef, state = nnx.split(made.layers)
    loss = lambda state: jnp.sum(model(images, adapters=nnx.merge(graphdef, state)) ** 3)
    grads = jax.grad(loss)(state)
    assert np.abs(grads["up"]["kernel"][...]).min() > 0
    moved = jax.tree.map(lambda x, g: x - 0.1 * g, state, grads)
    assert np.abs(jax.grad(loss)(moved)["down"]["kernel"][...]).max() > 0


@pytest.mark.parametrize(
    "variant, pool, stay",
    [
        ("partial_deep", "class", True),
        ("noexpand", "class", False),
        ("shared", "class", True),
        ("pool_img", "patches", True),
        ("pool_prompt", "prompt", True),
        ("pool_imgprompt", "all", True),
    ],
)
def test_variants(variant, pool, stay):
    case = Case("vpt/vit_ablations")
    model, images = google(case, config(case, pool=pool)), case["in_images"]
    tensors = prompt_of(case, f"{variant}:enc.transformer.")
    if variant == "shared":
        tensors["deep_prompt_embeddings"] = jnp.repeat(tensors["prompt_embeddings"], 2, axis=0)
    features = model(images, placed(tensors, images), stay=stay)
    close(features, case[f"out_features_{variant}"], STACK)


@pytest.mark.parametrize("variant", ["add", "add_deep", "add1", "add1_deep"])
def test_vectors_that_are_added(variant):
    case = Case("vpt/vit_ablations")
    model, images = google(case, config(case)), case["in_images"]
    tensors = prompt_of(case, f"{variant}:enc.transformer.")
    layers = jnp.concatenate(list(tensors.values()))  # [1 or layers, 1 + L or 1, D]
    added = jnp.broadcast_to(layers, (len(images), *layers.shape))
    close(model(images, Prompt(added=added)), case[f"out_features_{variant}"], STACK)


@pytest.mark.parametrize("variant", ["pixel", "pixel_norm"])
def test_pieces_of_images(variant):
    case = Case("vpt/vit_ablations")
    cfg, images = config(case), case["in_images"]
    pixels = prompt_of(case, f"{variant}:enc.transformer.")["prompt_embeddings"][0]
    pixels = pixels.transpose(1, 2, 0)  # [patch, patch · P, 3], side by side
    pieces = np.stack(np.split(pixels, pixels.shape[1] // cfg.patch, axis=1))
    if variant == "pixel_norm":
        pieces = protocols.IMAGENET(255 * pieces)
    patches = jnp.broadcast_to(pieces, (len(images), *pieces.shape))
    found = google(case, cfg)(images, Prompt(patches=patches))
    close(found, case[f"out_features_{variant}"], STACK)


def pixel_prompt_of(case: Case, place: str, tokens: int, **tensors: np.ndarray) -> Prompt:
    """The prompt of two images that a generator with these parameters makes."""
    cfg = config(case)
    sizes = (cfg.image_size, cfg.patch, cfg.width)
    made = pixel_prompt.PixelPrompt(
        pixel_prompt.PixelPromptConfig(place, tokens, *sizes), rngs=nnx.Rngs(0)
    )
    graphdef, _ = nnx.split(made)
    return nnx.merge(graphdef, params.unflatten(tensors))(np.full(2, -1))


def test_a_frame_around_the_image():
    case = Case("vpt/vit_ablations")
    theirs = prompt_of(case, "pad:enc.transformer.prompt_embeddings_")
    last = lambda x: x[0].transpose(1, 2, 0)  # [1, 3, …] -> […, 3]
    made = pixel_prompt_of(case, "pad", 4, sides=last(theirs["lr"]), ends=last(theirs["tb"]))
    prompt, how = Placing("pad").placed(made, protocols.IMAGENET)
    assert how == {} and prompt.frame.shape == (2, 40, 40, 3)
    found = google(case, config(case))(case["in_images"], prompt)
    close(found, case["out_features_pad"], STACK)
    # The middle is the image's, whatever the frame holds there.
    other = Prompt(frame=prompt.frame.at[:, 4:-4, 4:-4].set(7.0))
    close(google(case, config(case))(case["in_images"], other), found, LAYER)


def test_channels_below_the_image():
    case = Case("vpt/vit_ablations")
    theirs = prompt_of(case, "below:enc.transformer.")
    channels = theirs["prompt_embeddings"][0].transpose(1, 2, 0)
    kernel = theirs["embeddings.patch_embeddings.weight[:, 3:]"].transpose(2, 3, 1, 0)  # HWIO
    made = pixel_prompt_of(case, "below", 2, **{"channels": channels, "patches/kernel": kernel})
    prompt, how = Placing("below").placed(made, protocols.IMAGENET)
    assert how == {} and not np.any(prompt.added[:, :, 0])  # the class token's
    close(google(case, config(case))(case["in_images"], prompt), case["out_features_below"], STACK)


def test_where_a_frame_stands():
    frame = jnp.float32([[1, 2, 3], [4, 0, 6], [7, 8, 9]])[None, :, :, None]
    found = pixel_prompt.framed(jnp.full((1, 1, 1, 1), 5.0), frame)
    assert found[0, :, :, 0].tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    cfg = pixel_prompt.PixelPromptConfig("pad", 1, 1, 2, 8)
    made = pixel_prompt.PixelPrompt(cfg, rngs=nnx.Rngs(0))
    made.sides[...] = jnp.repeat(jnp.float32([[[4], [6]]]), 3, axis=2)
    made.ends[...] = jnp.repeat(jnp.float32([[[1], [2], [3]], [[7], [8], [9]]]), 3, axis=2)
    assert made(np.zeros(1)).frame[0, :, :, 2].tolist() == [[1, 2, 3], [4, 0, 6], [7, 8, 9]]


@pytest.mark.parametrize("pool", vit.POOLS)
def test_pools_with_a_frame(pool):
    cfg = vit.ViTConfig(image_size=8, patch=4, width=8, layers=1, heads=2, mlp=16, pool=pool)
    model = vit.ViT(cfg, rngs=nnx.Rngs(0))
    images = np.random.default_rng(0).standard_normal((2, 8, 8, 3), np.float32)
    prompt = Prompt(frame=jnp.ones((2, 16, 16, 3)))
    x, _ = model.hidden(images, prompt)
    assert x.shape == (2, 1 + 16, 8)
    if pool != "prompt":  # there are no tokens of a prompt
        expected = {"class": x[:, :1], "patches": x[:, 1:], "all": x[:, 1:]}[pool]
        close(model(images, prompt), model.norm(expected).mean(1), LAYER)


@pytest.mark.parametrize("side", [4, 11, 14])
def test_frames_that_do_not_fit(side):
    cfg = vit.ViTConfig(image_size=8, patch=4, width=8, layers=1, heads=2, mlp=16)
    model = vit.ViT(cfg, rngs=nnx.Rngs(0))
    message = "expected a multiple of the patch 4 that is larger than images of 8 by the same on"
    with pytest.raises(ValueError, match=message):
        model(np.zeros((1, 8, 8, 3), np.float32), Prompt(frame=np.zeros((1, side, side, 3))))


def test_published_sizes():
    """Scalars of ViT-B/16 as the reference counts them, without its head of 397 classes."""
    theirs = Case("vpt/transfer_types").config["vit_b16_5_prompts_397_classes"]
    count = lambda make: params.count(params.outline(make)[1])
    head = count(lambda rngs: Head(HeadConfig(768, 397), rngs=rngs))
    assert head == theirs["linear"]
    assert vit.CONFIGS["H/14"].heads == 16
    base = vit.CONFIGS["B/16"]
    assert count(lambda rngs: vit.ViT(base, rngs=rngs)) == theirs["linear total"] - head
    adapters = adapter.AdapterConfig(base.width, base.layers, base.width // 8)
    added = count(lambda rngs: adapter.Adapters(adapters, rngs=rngs))
    assert added == theirs["adapter reduction=8"] - head


def test_a_hidden_layer_in_training_normalizes_by_the_batch():
    head = Head(HeadConfig(2, 3, hidden=1, dropout=0.0), rngs=nnx.Rngs(0))
    head.hidden["0"].kernel[...] = jnp.eye(2)
    seen = []
    head.out = lambda x: seen.append(x)
    x = jnp.float32([[1, 5], [3, 9]])  # means 2 and 7, deviations 1 and 2
    _, stats = head.train(x, jax.random.key(0))
    np.testing.assert_allclose(seen.pop(), [[-1, -1], [1, 1]], rtol=1e-4)
    # 0.9 · 0 + 0.1 · mean; 0.9 · 1 + 0.1 · variance with n - 1: 2 and 8.
    np.testing.assert_allclose(stats["norms"]["0"]["mean"], [0.2, 0.7], rtol=1e-5)
    np.testing.assert_allclose(stats["norms"]["0"]["variance"], [1.1, 1.7], rtol=1e-5)
    head(x)  # the averages are 0 and 1
    np.testing.assert_allclose(seen.pop(), x, rtol=1e-4)


def test_mlp_head():
    case = Case("vpt/head_mlp3")
    cfg = HeadConfig(case.config["hidden"], case.config["classes"], case.config["mlp_num"])
    head = Head(cfg, rngs=nnx.Rngs(0))
    theirs = prompt_of(case, "head.")
    for i in range(cfg.hidden):
        head.hidden[str(i)].kernel[...] = jnp.asarray(theirs[f"projection.{4 * i}.weight"].T)
        head.hidden[str(i)].bias[...] = jnp.asarray(theirs[f"projection.{4 * i}.bias"])
        for ours, name in (
            ("scale", "weight"),
            ("bias", "bias"),
            ("mean", "running_mean"),
            ("variance", "running_var"),
        ):
            value = jnp.asarray(theirs[f"projection.{4 * i + 2}.{name}"])
            getattr(head.norms[str(i)], ours)[...] = value
    head.out.kernel[...] = jnp.asarray(theirs["last_layer.weight"].T)
    head.out.bias[...] = jnp.asarray(theirs["last_layer.bias"])
    close(head(case["in_features"]), case["out_logits"], STACK)


def test_prompts_of_the_last_blocks():
    """They come in as tokens of their own; in the reference they overwrite patches."""
    case = Case("vpt/vit_ablations")
    cfg, images = config(case), case["in_images"]
    model = google(case, cfg)
    layers = prompt_of(case, "reverse:enc.transformer.")["deep_prompt_embeddings"]
    prompt = Prompt(layers=jnp.broadcast_to(layers, (len(images), *layers.shape)))
    block = lambda i: jax.tree.map(lambda leaf: leaf[i], model.blocks)
    x = block(0)(model.embed(images))
    last = jax.tree.map(lambda leaf: leaf[1:], model.blocks)
    run = lambda block, x, prefix, key: block(x, prefix)
    theirs, _ = run_blocks(dataclasses.replace(cfg, layers=2), last, x, prompt, run, front=1)
    close(model.pooled(theirs), case["out_features_reverse"], STACK)
    for i in (1, 2):
        start = 1 if i == 1 else 1 + layers.shape[1]
        x = jnp.concatenate([x[:, :1], prompt.layers[:, i - 1], x[:, start:]], axis=1)
        x = block(i)(x)
    assert x.shape[1] == 1 + layers.shape[1] + cfg.length
    close(model(images, prompt, first=1), model.pooled(x), LAYER)


@pytest.mark.parametrize(
    "prompt, first, message",
    [
        (
            Prompt(layers=np.zeros((1, 3, 2, 8))),
            0,
            "for blocks 0 to 2, expected some of blocks 0 to 1",
        ),
        (
            Prompt(layers=np.zeros((1, 1, 2, 8))),
            2,
            "for blocks 2 to 2, expected some of blocks 0 to 1",
        ),
    ],
)
def test_prompts_for_blocks_that_there_are_not(prompt, first, message):
    cfg = vit.ViTConfig(image_size=8, patch=4, width=8, layers=2, heads=2, mlp=16)
    model = vit.ViT(cfg, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=message):
        model(np.zeros((1, 8, 8, 3), np.float32), prompt, first=first)
