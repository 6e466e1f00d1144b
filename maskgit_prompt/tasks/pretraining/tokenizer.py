"""The stage that trains a tokenizer, alone or against a discriminator."""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import numpy as np
from ml_collections import ConfigDict

from maskgit_prompt import params, streams
from maskgit_prompt.backbones import Part
from maskgit_prompt.backbones.compiled import in_batches, make_decoder, make_encoder
from maskgit_prompt.data.ahead import Ahead
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import UsageError
from maskgit_prompt.models.discriminator import Discriminator, DiscriminatorConfig
from maskgit_prompt.models.kind import Axes
from maskgit_prompt.models.patch import PatchConfig, PatchDiscriminator
from maskgit_prompt.params import Tree
from maskgit_prompt.tasks.generation import pictures
from maskgit_prompt.tasks.generation.watching import add_sheet
from maskgit_prompt.tasks.losses import QuantizerWeights
from maskgit_prompt.tasks.perceptual import PART, Perceptual, make_perceptual
from maskgit_prompt.tasks.pretraining.batches import PixelBatches
from maskgit_prompt.tasks.pretraining.codebook import STATS, MovingAverage
from maskgit_prompt.tasks.pretraining.evaluation import evaluations
from maskgit_prompt.tasks.pretraining.lesson import Lesson, Network, Setup
from maskgit_prompt.tasks.pretraining.reconstruction import (
    Critic,
    Nearness,
    discriminator_loss,
    heldout_loss,
    tokenizer_loss,
)
from maskgit_prompt.tuning.game import Player
from maskgit_prompt.tuning.optimizers import make_optimizer
from maskgit_prompt.tuning.train import LossFn
from maskgit_prompt.tuning.tune import Examples

LINES = 3  # of pairs on a sheet
CURVES = {
    "loss": "training batches",
    "tokenizer/loss": "training batches",  # of two players
    "evaluated_heldout": "held-out images",
}
ANYWHERE = ((".*", None),)  # whole, on every device


def prepare(config: ConfigDict) -> Perceptual | None:
    """What reconstructions are compared with; raises for all that can be known to be wrong.

    Raises:
      UsageError: a discriminator that never plays or that does not fit the image, and what
        make_perceptual raises. UserError: as make_perceptual.
    """
    settings, size = config.adversarial, config.tokenizer.image_size
    if settings.weight and settings.start >= config.train.steps:
        raise UsageError(
            f"config.adversarial.start = {settings.start} is after the last of "
            f"{config.train.steps} steps: the discriminator would never play; start it sooner, or "
            "set config.adversarial.weight=0"
        )
    if settings.weight:
        _discriminator(config)
    if not config.reconstruction.perceptual:
        return None
    key, name = "config.reconstruction.network", config.reconstruction.network
    return make_perceptual(name, size, dtype=config.dtype, key=key)


@dataclasses.dataclass(frozen=True)
class Training:
    """What is trained, and by which losses, whatever the images are.

    Attributes:
      loss: of the whole tree; with a discriminator, players by name.
      beside: branch -> (makes the parameters beside the tokenizer's on this host, where they lie on
        a mesh).
      stats, frozen: path patterns, as in Examples.
    """

    loss: LossFn | Mapping[str, Player]
    beside: dict[str, tuple[Callable[[], Tree], Axes]]
    nearness: Nearness
    stats: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()


def training(
    config: ConfigDict, network: Network, codebook: np.ndarray, perceptual: Perceptual | None
) -> Training:
    """The tokenizer's losses and all parameters that they need.

    Args:
      codebook: before the first step.
      perceptual: as `prepare` gives it.
    """
    nearness, beside, frozen = _nearness(config, perceptual), {}, ()
    average, critic = None, None
    if perceptual is not None:
        beside[PART] = (lambda: perceptual.tree, perceptual.axes)
        frozen = (f"{PART}/.*",)
    if config.quantizer.ema:
        average = MovingAverage(config.quantizer.ema, config.quantizer.revive)
        beside["usage"] = (lambda: average.usage(codebook), ANYWHERE)
    if config.adversarial.weight:
        critic, draw = _critic(config)
        beside["discriminator"] = (draw, ANYWHERE)
    loss = tokenizer_loss(network.graphdef, nearness, _quantizer(config), average, critic)
    if critic is not None:
        loss = _players(config, loss, discriminator_loss(network.graphdef, critic), frozen)
    return Training(loss, beside, nearness, () if average is None else STATS, frozen)


def lesson(setup: Setup) -> Lesson:
    """Reconstruction of new views in every step; the smallest held-out distance is kept."""
    config, network = setup.config, setup.network
    codebook = jax.device_get(setup.own["codebook"])
    how = training(config, network, codebook, setup.perceptual)
    tree = {"tokenizer": setup.own}
    for branch, (make, axes) in how.beside.items():
        tree |= sharding.place({branch: jax.device_get(make())}, setup.mesh, axes)
    size = config.train.batch_size
    batch = Ahead(PixelBatches(setup.corpus, setup.view_maker, config.seed, size))
    examples = Examples(
        number=len(setup.corpus),
        batch=_with_turns(batch, config) if config.adversarial.weight else batch,
        evaluations=evaluations(setup, heldout_loss(network.graphdef, how.nearness)),
        show=_make_show(setup) if config.train.show_every else None,
        stats=how.stats,
        frozen=how.frozen,
        what="tokenizer",
    )
    return Lesson(how.loss, tree, examples)


def _players(
    config: ConfigDict, loss: LossFn, rival: LossFn, frozen: tuple[str, ...]
) -> dict[str, Player]:
    """The tokenizer and the discriminator; frozen: as in Examples."""
    steps, start = config.train.steps, config.adversarial.start
    others = (f"!{pattern}" for pattern in ("discriminator/.*", *frozen))
    return {
        "tokenizer": Player(
            loss, (*others, *config.trainable), make_optimizer(config.optimizer, steps)
        ),
        "discriminator": Player(
            rival,
            ("discriminator/.*",),
            make_optimizer(_optimizer_of_discriminator(config), steps - start),
            starts_at=start,
        ),
    }


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


def _nearness(config: ConfigDict, perceptual: Perceptual | None) -> Nearness:
    settings = config.reconstruction
    if perceptual is None:
        return Nearness(settings.l1, settings.l2)
    distance = lambda tree, x, y: perceptual.distance_fn(tree[PART], x, y)
    return Nearness(settings.l1, settings.l2, settings.perceptual, distance)


def _quantizer(config: ConfigDict) -> QuantizerWeights:
    settings = config.quantizer
    return QuantizerWeights(
        settings.commitment,
        settings.codebook,
        settings.entropy,
        settings.temperature,
        settings.affinity,
    )


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


def _critic(config: ConfigDict) -> tuple[Critic, Callable[[], Tree]]:
    """The critic, and what draws the discriminator's first parameters."""
    settings = config.adversarial
    graphdef, init = _discriminator(config)
    key = jax.random.key(streams.seed_of(config.seed, "discriminator"))
    critic = Critic(graphdef, settings.weight, settings.loss, settings.adaptive, settings.penalty)
    return critic, lambda: jax.jit(init)(key)


def _optimizer_of_discriminator(config: ConfigDict) -> ConfigDict:
    """The tokenizer's settings, without what is for its own paths and first steps."""
    settings = ConfigDict(config.optimizer.to_dict())
    settings.rates, settings.decays, settings.warmup_steps = (), (), 0
    if config.adversarial.learning_rate:
        settings.learning_rate = config.adversarial.learning_rate
    return settings


def _make_show(setup: Setup) -> Callable[[int, Tree], None]:
    """Sheets of images above their reconstructions, held-out ones where there are any."""
    config, network, corpus = setup.config, setup.network, setup.corpus
    rows = corpus.heldout if len(corpus.heldout) else np.concatenate(corpus.train)
    many = min(len(rows), LINES * pictures.SHEET_COLUMNS)
    rows = rows[np.linspace(0, len(rows) - 1, many).round().astype(int)]
    real = setup.view_maker(rows, np.zeros_like(rows))

    def show(step: int, tree: Tree) -> None:
        part = Part(network.kind, network.cfg, sharding.tree_to_host(tree["tokenizer"], setup.mesh))
        encode, size = make_encoder(part, setup.mesh)
        made = make_decoder(part, setup.mesh)(in_batches(encode, real, size))
        sheet = pictures.above(real, made, ("goes in", "comes out"), LINES)
        title = f"Tokenizer: {config.name}"
        add_sheet(setup.home, title, CURVES, sheet, step, config.train.steps)

    return show
