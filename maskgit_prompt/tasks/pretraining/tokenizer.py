"""The stage that trains a tokenizer, alone or against a discriminator."""

from collections.abc import Callable

import jax
import numpy as np
from ml_collections import ConfigDict

from maskgit_prompt import params, streams
from maskgit_prompt.backbones import Part
from maskgit_prompt.backbones.compiled import in_batches, make_decoder, make_encoder
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import UsageError
from maskgit_prompt.models.discriminator import Discriminator, DiscriminatorConfig
from maskgit_prompt.models.patch import PatchConfig, PatchDiscriminator
from maskgit_prompt.params import Tree
from maskgit_prompt.report import sheets
from maskgit_prompt.tasks.generation.watching import add_sheet
from maskgit_prompt.tasks.losses import QuantizerWeights
from maskgit_prompt.tasks.perceptual import PART, Perceptual, make_perceptual
from maskgit_prompt.tasks.pretraining.batches import PixelBatches
from maskgit_prompt.tasks.pretraining.codebook import STATS, MovingAverage
from maskgit_prompt.tasks.pretraining.evaluation import evaluate_in_batches
from maskgit_prompt.tasks.pretraining.lesson import Lesson, Setup
from maskgit_prompt.tasks.pretraining.reconstruction import (
    Critic,
    Nearness,
    discriminator_loss,
    make_heldout,
    tokenizer_loss,
)
from maskgit_prompt.tuning.game import Player
from maskgit_prompt.tuning.optimizers import make_optimizer
from maskgit_prompt.tuning.tune import Examples

COLUMNS, LINES = 12, 3  # of images on a sheet
CURVES = {"evaluated_heldout": "held-out images"}
ANYWHERE = ((".*", None),)  # whole, on every device


def check(config: ConfigDict) -> None:
    """Raises UsageError for what can be known to be wrong before anything is written."""
    settings = config.adversarial
    if settings.weight and settings.start >= config.train.steps:
        raise UsageError(
            f"config.adversarial.start = {settings.start} is after the last of "
            f"{config.train.steps} steps: the discriminator would never play; start it sooner, or "
            "set config.adversarial.weight=0"
        )
    if settings.weight:
        _discriminator(config)
    if config.reconstruction.perceptual:
        _perceptual(config)


def lesson(setup: Setup) -> Lesson:
    """Reconstruction of new views in every step; the smallest held-out distance is kept."""
    config, network = setup.config, setup.network
    tree = {"tokenizer": setup.own}
    nearness, more = _nearness(config, setup)
    tree |= more
    average = None
    if config.quantizer.ema:
        average = MovingAverage(config.quantizer.ema, config.quantizer.revive)
        usage = average.usage(tree["tokenizer"]["codebook"])
        tree["usage"] = sharding.place(jax.device_get(usage), setup.mesh, ANYWHERE)
    weights = QuantizerWeights(
        config.quantizer.commitment,
        config.quantizer.codebook,
        config.quantizer.entropy,
        config.quantizer.temperature,
        config.quantizer.affinity,
    )
    frozen = tuple(f"!{name}/.*" for name in more)
    trainable = (*frozen, *config.trainable)
    critic = None
    if config.adversarial.weight:
        critic, tree["discriminator"] = _critic(config, setup)
    loss = tokenizer_loss(network.graphdef, nearness, weights, average, critic)
    if critic is not None:
        steps = config.train.steps
        own = ("!discriminator/.*", *trainable)
        rival = discriminator_loss(network.graphdef, critic)
        loss = {
            "tokenizer": Player(loss, own, make_optimizer(config.optimizer, steps)),
            "discriminator": Player(
                rival,
                ("discriminator/.*",),
                make_optimizer(_rate(config), steps - config.adversarial.start),
                starts_at=config.adversarial.start,
            ),
        }
    column = "loss" if critic is None else "tokenizer/loss"
    pixels = PixelBatches(setup.corpus, setup.scenes, config.seed, config.train.batch_size)
    rows, evaluations = setup.scored(), {}
    if len(rows):
        measure = make_heldout(network.graphdef, nearness)
        evaluate = evaluate_in_batches(
            setup, rows, lambda tree, batch: measure(tree, batch["pixels"])
        )
        evaluations["heldout"] = lambda tree: evaluate(tree)["loss"]
    examples = Examples(
        number=len(setup.corpus),
        batch=pixels if critic is None else _with_turns(pixels, config),
        evaluations=evaluations,
        show=_make_show(setup, column) if config.train.show_every else None,
        stats=() if average is None else STATS,
        what="tokenizer",
    )
    return Lesson(loss, trainable, tree, examples)


def _with_turns(pixels: Callable, config: ConfigDict) -> Callable[[int], dict[str, np.ndarray]]:
    """Batches that say whether the discriminator plays, and what its penalty is multiplied by."""
    settings = config.adversarial

    def batch(step: int) -> dict[str, np.ndarray]:
        since = step - settings.start
        plays, due = since >= 0, since >= 0 and since % settings.penalty_every == 0
        size = config.train.batch_size
        return {
            **pixels(step),
            "adversarial": np.full(size, plays, np.float32),
            # Fewer penalties, each so much heavier, have the same mean (arXiv 1912.04958).
            "penalty": np.full(size, settings.penalty_every if due else 0, np.float32),
        }

    return batch


def _nearness(config: ConfigDict, setup: Setup) -> tuple[Nearness, Tree]:
    """How near an image is to its reconstruction, and the parameters that measure it."""
    settings = config.reconstruction
    if not settings.perceptual:
        return Nearness(settings.l1, settings.l2), {}
    network = _perceptual(config)
    weights = sharding.place({PART: network.tree}, setup.mesh, network.axes)
    distance = lambda tree, x, y: network.distance_fn(tree[PART], x, y)
    return Nearness(settings.l1, settings.l2, settings.perceptual, distance), weights


def _perceptual(config: ConfigDict) -> Perceptual:
    """The network of the perceptual distance.

    Raises:
      UsageError, UserError: as make_perceptual.
    """
    settings = config.reconstruction
    key, size = "config.reconstruction.network", config.tokenizer.image_size
    return make_perceptual(settings.network, size, dtype=config.dtype, key=key)


def _discriminator(config: ConfigDict):
    """(graphdef, init) of the discriminator.

    Raises:
      UsageError: sizes that do not fit the image.
    """
    settings, size = config.adversarial, config.tokenizer.image_size
    try:
        if settings.discriminator == "stylegan":
            cfg = DiscriminatorConfig(image_size=size, dtype=config.dtype)
            return params.create(lambda rngs: Discriminator(cfg, rngs=rngs))
        cfg = PatchConfig(
            image_size=size,
            width=settings.width,
            layers=settings.layers,
            groups=min(32, settings.width),
            dtype=config.dtype,
        )
        return params.create(lambda rngs: PatchDiscriminator(cfg, rngs=rngs))
    except ValueError as error:
        raise UsageError(f"config.adversarial: {error}") from error


def _critic(config: ConfigDict, setup: Setup) -> tuple[Critic, Tree]:
    settings = config.adversarial
    graphdef, init = _discriminator(config)
    key = jax.random.key(streams.seed_of(config.seed, "scratch"))
    drawn = jax.device_get(jax.jit(init)(key))
    critic = Critic(graphdef, settings.weight, settings.loss, settings.adaptive, settings.penalty)
    return critic, sharding.place(drawn, setup.mesh, ANYWHERE)


def _rate(config: ConfigDict) -> ConfigDict:
    """The optimizer's settings for the discriminator."""
    settings = ConfigDict(config.optimizer.to_dict())
    settings.rates, settings.decays, settings.warmup_steps = (), (), 0
    if config.adversarial.learning_rate:
        settings.learning_rate = config.adversarial.learning_rate
    return settings


def _make_show(setup: Setup, column: str) -> Callable[[int, Tree], None]:
    """Sheets of images above their reconstructions, held-out ones where there are any."""
    config, network, corpus = setup.config, setup.network, setup.corpus
    rows = corpus.heldout if len(corpus.heldout) else np.concatenate(corpus.train)
    across = min(COLUMNS, len(rows))
    down = min(LINES, len(rows) // across)
    rows = rows[np.linspace(0, len(rows) - 1, across * down).round().astype(int)]
    real = setup.scenes(rows, np.zeros_like(rows))

    def show(step: int, tree: Tree) -> None:
        part = Part(network.kind, network.cfg, sharding.tree_to_host(tree["tokenizer"], setup.mesh))
        encode, size = make_encoder(part, setup.mesh)
        made = make_decoder(part, setup.mesh)(in_batches(encode, real, size))
        lines = [x.reshape(down, 1, across, *x.shape[1:]) for x in (real, made)]
        cells = np.concatenate(lines, axis=1).reshape(2 * down, across, *real.shape[1:])
        sheet = sheets.grid(cells, row_labels=["goes in", "comes out"] * down)
        title, steps = f"Tokenizer: {config.name}", config.train.steps
        add_sheet(setup.home, title, {column: "training batches", **CURVES}, sheet, step, steps)

    return show
