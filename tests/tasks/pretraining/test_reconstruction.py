"""The tokenizer's losses against values by hand and against their parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from maskgit_prompt import params
from maskgit_prompt.models.tokenizer import Tokenizer, TokenizerConfig
from maskgit_prompt.tasks import losses
from maskgit_prompt.tasks.losses import QuantizerWeights
from maskgit_prompt.tasks.pretraining import reconstruction
from maskgit_prompt.tasks.pretraining.codebook import MovingAverage
from maskgit_prompt.tasks.pretraining.reconstruction import Critic, Nearness
from maskgit_prompt.tuning import train

CFG = TokenizerConfig(
    image_size=8, codebook=6, embedding=4, filters=4, multipliers=(1, 1), blocks=1, groups=2
)
KEY = jax.random.key(0)
NOTHING = QuantizerWeights(0.0, 0.0, 0.0)


class Judge(nnx.Module):
    """A stand-in for a discriminator: the mean red, less green, times a factor."""

    def __init__(self, rngs=None):
        self.factor = nnx.Param(jnp.array(2.0))

    def __call__(self, images):
        difference = images[..., 0] - images[..., 1]
        return self.factor[...] * jnp.mean(difference, (1, 2))[:, None]


@pytest.fixture(scope="module")
def model():
    graphdef, init = params.create(lambda rngs: Tokenizer(CFG, rngs=rngs))
    judge, init_judge = params.create(lambda rngs: Judge(rngs))
    tree = {"tokenizer": init(jax.random.key(3)), "discriminator": init_judge(KEY)}
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    batch = {"pixels": pixels, "adversarial": np.ones(4, np.float32)}
    return graphdef, judge, tree, {k: jnp.asarray(x) for k, x in batch.items()}


def through(model) -> tuple[jax.Array, jax.Array]:
    """(images, reconstructions)."""
    graphdef, _, tree, batch = model
    tokenizer = nnx.merge(graphdef, tree["tokenizer"])
    images = batch["pixels"] / 255.0
    return images, tokenizer.decode(tokenizer.encode(images))


def test_nearness_is_the_sum_of_its_terms():
    images, made = jnp.zeros((2, 2, 2, 3)), jnp.stack([jnp.full((2, 2, 3), x) for x in (0.5, 0.1)])
    distance = lambda tree, x, y: tree["scale"] * jnp.mean(jnp.abs(x - y), (1, 2, 3))
    near = Nearness(l1=1.0, l2=2.0, perceptual=3.0, distance=distance)
    terms = near.terms({"scale": 10.0}, images, made)
    np.testing.assert_allclose(terms["pixel"], [0.5 + 2 * 0.25, 0.1 + 2 * 0.01], rtol=1e-5)
    np.testing.assert_allclose(terms["perceptual"], [15.0, 3.0], rtol=1e-5)
    np.testing.assert_allclose(terms["loss"], [16.0, 3.12], rtol=1e-5)
    np.testing.assert_allclose(terms["mse"], [0.25, 0.01], rtol=1e-5)
    assert set(Nearness().terms({}, images, made)) == {"pixel", "loss", "mse"}


def test_the_loss_is_nearness_and_the_codebooks_terms(model):
    graphdef, _, tree, batch = model
    loss_fn = reconstruction.tokenizer_loss(graphdef, Nearness(), QuantizerWeights())
    loss, metrics = loss_fn(tree, batch, KEY)
    images, made = through(model)
    pixel = jnp.mean(jnp.abs(images - made)) + jnp.mean((images - made) ** 2)
    np.testing.assert_allclose(metrics["pixel"], pixel, rtol=1e-5)
    codebook = sum(metrics[name] for name in ("commitment", "codebook", "entropy"))
    np.testing.assert_allclose(loss, pixel + codebook, rtol=1e-5)
    psnr = -10 * np.log10(float(jnp.mean((images - made) ** 2)))
    np.testing.assert_allclose(metrics["psnr"], psnr, rtol=1e-5)


def test_a_critic_adds_how_little_it_is_deceived(model):
    graphdef, judge, tree, batch = model
    _, made = through(model)
    logits = 2 * jnp.mean(made[..., 0] - made[..., 1], (1, 2))
    for kind, expected in (
        ("hinge", -jnp.mean(logits)),
        ("non_saturating", jnp.mean(jnp.log1p(jnp.exp(-logits)))),
    ):
        critic = Critic(judge, weight=0.5, kind=kind)
        loss_fn = reconstruction.tokenizer_loss(graphdef, Nearness(0, 0), NOTHING, critic=critic)
        loss, metrics = loss_fn(tree, batch, KEY)
        np.testing.assert_allclose(metrics["adversarial"], expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(loss, 0.5 * expected, rtol=1e-4, atol=1e-6)
        off = batch | {"adversarial": jnp.zeros(4)}
        assert float(loss_fn(tree, off, KEY)[0]) == 0


def test_the_adaptive_weight_balances_gradients_at_the_last_kernel(model):
    graphdef, judge, tree, batch = model
    last = lambda tree: params.flatten(tree)[reconstruction.LAST]
    gradients = {}
    for name, near, weight in (("near", Nearness(), 0.0), ("deceive", Nearness(0, 0), 1.0)):
        critic = Critic(judge, weight)
        loss_fn = reconstruction.tokenizer_loss(graphdef, near, NOTHING, critic=critic)
        gradients[name] = last(jax.jit(jax.grad(lambda t, f=loss_fn: f(t, batch, KEY)[0]))(tree))
    norms = {name: float(jnp.linalg.norm(g.ravel())) for name, g in gradients.items()}
    critic = Critic(judge, weight=0.8, adaptive=True)
    loss_fn = reconstruction.tokenizer_loss(graphdef, Nearness(), NOTHING, critic=critic)
    run = jax.jit(jax.value_and_grad(lambda t: loss_fn(t, batch, KEY), has_aux=True))
    (loss, metrics), whole = run(tree)
    ratio = norms["near"] / (norms["deceive"] + 1e-4)
    np.testing.assert_allclose(metrics["adaptive"], ratio, rtol=1e-3)
    expected = gradients["near"] + 0.8 * ratio * gradients["deceive"]
    np.testing.assert_allclose(last(whole), expected, rtol=1e-3, atol=1e-6)


def test_the_discriminators_loss_tells_real_from_made(model):
    graphdef, judge, tree, batch = model
    images, made = through(model)
    logit = lambda x: 2 * jnp.mean(x[..., 0] - x[..., 1], (1, 2))
    critic = Critic(judge, weight=1.0)
    loss, metrics = reconstruction.discriminator_loss(graphdef, critic)(tree, batch, KEY)
    np.testing.assert_allclose(metrics["real"], jnp.mean(logit(images)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(metrics["fake"], jnp.mean(logit(made)), rtol=1e-4, atol=1e-6)
    expected = losses.discriminator_loss(logit(images), logit(made))
    np.testing.assert_allclose(loss, expected, rtol=1e-4)


def test_the_penalty_counts_in_its_steps_alone(model):
    graphdef, judge, tree, batch = model
    critic = Critic(judge, weight=1.0, penalty=10.0)
    loss_fn = reconstruction.discriminator_loss(graphdef, critic)
    due, none = (batch | {"penalty": jnp.full(4, x)} for x in (16.0, 0.0))
    loss, metrics = loss_fn(tree, due, KEY)
    # Two of three channels, 64 pixels, each with a gradient of 2 / 64.
    r1 = 10 * 128 * (2 / 64) ** 2
    np.testing.assert_allclose(metrics["penalty"], r1, rtol=1e-5)
    without, metrics = loss_fn(tree, none, KEY)
    assert float(metrics["penalty"]) == 0
    np.testing.assert_allclose(loss - without, 16 * r1, rtol=1e-5)


def test_no_gradient_goes_from_one_player_to_the_other(model):
    graphdef, judge, tree, batch = model
    critic = Critic(judge, weight=1.0)
    loss_fn = reconstruction.discriminator_loss(graphdef, critic)
    gradient = jax.grad(lambda t: loss_fn(t, batch, KEY)[0])(tree)
    assert all(float(jnp.abs(x).max()) == 0 for x in jax.tree.leaves(gradient["tokenizer"]))
    assert float(jnp.abs(gradient["discriminator"]["factor"])) > 0


def test_a_codebook_of_averages_is_renewed_and_has_no_term(model):
    graphdef, _, tree, batch = model
    average = MovingAverage(0.9)
    codebook = tree["tokenizer"]["codebook"]
    tree = tree | {"usage": average.usage(codebook)}
    loss_fn = reconstruction.tokenizer_loss(graphdef, Nearness(), QuantizerWeights(), average)
    loss, metrics = loss_fn(tree, batch, KEY)
    assert float(metrics["codebook"]) == 0
    tokenizer = nnx.merge(graphdef, tree["tokenizer"])
    features = tokenizer.features(batch["pixels"] / 255.0)
    chosen = tokenizer.nearest(features).ravel()
    expected, usage = average.renewed(codebook, tree["usage"], features.reshape(-1, 4), chosen, KEY)
    found = metrics[train.STATS]
    np.testing.assert_allclose(found["tokenizer"]["codebook"], expected, rtol=1e-5)
    np.testing.assert_allclose(found["usage"]["count"], usage["count"], rtol=1e-5)


def test_the_held_out_distance_is_of_what_is_stored(model):
    graphdef, _, tree, batch = model
    images, made = through(model)
    found = reconstruction.heldout_loss(graphdef, Nearness())(tree, batch)
    mse = jnp.mean((images - made) ** 2, (1, 2, 3))
    l1 = jnp.mean(jnp.abs(images - made), (1, 2, 3))
    np.testing.assert_allclose(found, l1 + mse, rtol=1e-4)
