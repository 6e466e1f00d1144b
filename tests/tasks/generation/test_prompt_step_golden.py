"""Three steps of prompt tuning and the sampler after them, as the reference takes them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from ml_collections import ConfigDict

from maskgit_prompt import backbones, params
from maskgit_prompt.decoding import parallel, schedules
from maskgit_prompt.decoding.config import DecodeConfig
from maskgit_prompt.devices import sharding
from maskgit_prompt.models import masked, prompt, tokenizer
from maskgit_prompt.models.masked import MASK, MaskedConfig
from maskgit_prompt.models.prompt import PromptConfig
from maskgit_prompt.tasks import losses
from maskgit_prompt.tasks.generation import masking
from maskgit_prompt.tuning import optimizers, train
from tests import golden_models
from tests.golden_models import Case, close

LAYER, STACK = 1e-5, 1e-4
AXES = (
    *backbones.axes("tokenizer", tokenizer.AXES),
    *backbones.axes("transformer", masked.AXES),
    *backbones.axes("prompt", prompt.AXES),
)
NAMES = {  # ours -> the reference's last two path parts
    "classes": "prompt_embeddings_embedding",
    "positions": "prompt_position_embeddings_embedding",
    "norm/bias": "prompt_embeddings_ln_bias",
    "norm/scale": "prompt_embeddings_ln_scale",
}


@functools.cache
def case() -> Case:
    return Case("maskgit/prompt_step_tiny")


@functools.cache
def models() -> dict:
    """part -> (graphdef, parameters)."""
    cfg = case().config
    model = cfg["transformer"]
    codebook = cfg["tokenizer"]["codebook_size"]
    transformer = MaskedConfig(
        codebook=codebook,
        classes=cfg["vocab_size"] - codebook - 1,
        length=model["latent_size"] ** 2,
        width=model["num_embeds"],
        layers=model["num_layers"],
        heads=model["num_heads"],
        mlp=model["intermediate_size"],
    )
    prompt = PromptConfig(
        kind="additive",
        tokens=cfg["prompt"]["seq_length"],
        width=transformer.width,
        classes=cfg["num_class"],
        embedding=cfg["prompt"]["embedding_size"],
    )
    return {
        "tokenizer": golden_models.tokenizer(case(), cfg["tokenizer"]),
        "transformer": golden_models.transformer(case(), transformer),
        "prompt": golden_models.prompt(case(), prompt),
    }


def loss_fn(tree, batch, _):
    """The reference's loss; its key comes with the batch, since it derives keys of its own."""
    graphdefs = {name: graphdef for name, (graphdef, _) in models().items()}
    mask_key, _, _ = jax.random.split(batch["key"], 3)
    images = batch["pixels"].astype(jnp.float32) / 255
    codes = nnx.merge(graphdefs["tokenizer"], tree["tokenizer"]).encode(images)  # [B, L]
    rates = masking.draw_rates(
        mask_key, len(codes), schedules.schedule("cosine"), codes.shape[1], shared=True
    )
    masked, weights = masking.mask_codes(jax.random.PRNGKey(jnp.sum(codes)), codes, rates)
    prompt = nnx.merge(graphdefs["prompt"], tree["prompt"])(batch["labels"])
    logits = nnx.merge(graphdefs["transformer"], tree["transformer"]).code_logits(masked, prompt)
    loss = losses.masked_cross_entropy(logits, codes, weights, case().config["label_smoothing"])
    return loss, {"codes": codes, "rates": rates, "masked": masked, "weights": weights}


@functools.cache
def optimizer():
    cfg, optimizer = case().config, case().config["optimizer"]
    config = ConfigDict(
        {
            "learning_rate": optimizer["lr"],
            "warmup_steps": 0,
            "b1": optimizer["beta1"],
            "b2": optimizer["beta2"],
            "eps": optimizer["eps"],
            "weight_decay": 0.0,
            "clip": 0.0,
        }
    )
    rate = optimizers.learning_rate(config, cfg["num_train_steps"])
    return rate, optimizers.make_optimizer(config, cfg["num_train_steps"])


@functools.cache
def taken() -> tuple:
    """(states after each step, metrics of each step), on the host."""
    mesh = sharding.make_mesh(1, 1, 1, jax.devices()[:1])
    tree = {name: parameters for name, (_, parameters) in models().items()}
    placed = sharding.place(tree, mesh, AXES)
    _, tx = optimizer()
    state, frozen = train.init_state(placed, ("prompt/.*",), tx, mesh, ema=False)
    step = train.make_step(loss_fn, tx, state)
    states, metrics = [], []
    with jax.set_mesh(mesh):
        for i, seed in enumerate(case()["in_step_seed"]):
            batch = {
                "pixels": case()["in_image"][i],
                "labels": case()["in_label"][i],
                "key": jax.random.PRNGKey(seed),
            }
            state, found = step(state, frozen, batch, jax.random.key(0))
            states.append(jax.device_get(state))
            metrics.append(jax.device_get(found))
    return states, metrics


@pytest.mark.parametrize("step", range(3))
def test_step(step):
    state, found = taken()[0][step], taken()[1][step]
    assert case()["out_gap"].min() > 1e-3  # so that rounding cannot pick another code
    expected = case()["out_indices"][step]
    np.testing.assert_array_equal(found["codes"], expected.reshape(len(expected), -1))
    close(found["rates"], np.full(len(expected), case()["out_ratio"][step]), LAYER)
    # Column 0 is the class slot, which a prompt takes the place of: never masked, weight 0.
    np.testing.assert_array_equal(found["masked"], case()["out_input_ids"][step][:, 1:])
    np.testing.assert_array_equal(found["weights"], case()["out_weights"][step][:, 1:])
    np.testing.assert_array_equal(case()["out_weights"][step][:, 0], 0)
    close(found["loss"], case()["out_loss"][step], LAYER)
    close(optimizer()[0](step), case()["out_lr"][step], LAYER)
    after = params.flatten(state.trainable["prompt"])
    assert after.keys() == NAMES.keys()
    for name, theirs in NAMES.items():
        close(after[name], case()[f"out_after_{theirs}"][step], STACK)


def test_gradient_of_the_first_step():
    moments = optimizers_moments(taken()[0][0].opt)
    for name, theirs in NAMES.items():
        # Adam's first moment starts at 0: 0.9 · 0 + 0.1 · gradient.
        close(moments[name] / np.float32(0.1), case()[f"out_grad0_{theirs}"], STACK)


def optimizers_moments(opt) -> dict[str, np.ndarray]:
    """The first moments of the prompt's parameters, by name."""
    (adam,) = (part for part in opt if hasattr(part, "mu"))
    return params.flatten(adam.mu["prompt"])


def test_sampler_after_the_last_step():
    sample = case().config["sample"]
    codebook = case().config["tokenizer"]["codebook_size"]
    assert case()["out_sample_margin"].min() > 1e-3  # no choice hangs on rounding
    tree = taken()[0][-1].trainable["prompt"]
    prompt = nnx.merge(models()["prompt"][0], tree)(case()["in_sample_labels"][:, 0])
    graphdef, weights = models()["transformer"]
    transformer = nnx.merge(graphdef, jax.device_put(weights))

    def logits_fn(ids, _):
        # The class slot is masked and sampled too, from the last prompt's logits, though no
        # embedding of it is seen.
        return transformer(ids[:, 1:], prompt)[:, -ids.shape[1] :, :codebook]

    start = jnp.full((len(prompt), transformer.cfg.length + 1), MASK)
    config = DecodeConfig(steps=sample["num_iter"], choice_temperature=sample["choice_temperature"])
    decode = jax.jit(
        lambda key: parallel.decode(
            key,
            start,
            logits_fn,
            config,
            keep_trace=True,
        )
    )
    codes, trace = decode(jax.random.PRNGKey(case()["in_sample_seed"]))
    np.testing.assert_array_equal(np.swapaxes(trace.codes, 0, 1), case()["out_sample_seqs"])
    image = nnx.merge(*models()["tokenizer"]).decode(codes[:, 1:])
    close(image, case()["out_sample_image"], STACK)
