"""Prompts to images, in batches: a transformer's sampler and the tokenizer's decoder."""

import functools
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from maskgit_prompt.backbones import Backbone
from maskgit_prompt.backbones.compiled import make_decoder
from maskgit_prompt.backbones.compute import Compute
from maskgit_prompt.decoding import autoregressive, filters, guidance, marquee, parallel
from maskgit_prompt.decoding.generate import make_sampler
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import UsageError
from maskgit_prompt.models.cache import Memory
from maskgit_prompt.models.causal import CausalTransformer
from maskgit_prompt.models.masked import MASK
from maskgit_prompt.models.prompt import NONE, PromptConfig, PromptGenerator
from maskgit_prompt.params import Tree, create
from maskgit_prompt.progress import progress


def _code_logits(graphdef, weights, codes, prompt):
    return nnx.merge(graphdef, weights).code_logits(codes, prompt, pin=sharding.split_batch)


def _stepwise(graphdef, codebook, weights):
    return _Stepwise(nnx.merge(graphdef, weights), codebook)


@functools.cache
def _bound(f: Callable, graphdef: nnx.GraphDef, *static) -> jax.tree_util.Partial:
    """A function of weights and arrays; the same object for the same model, or jit would take
    equal models for two and compile each."""
    return jax.tree_util.Partial(f, graphdef, *static)


class _Stepwise:
    """A causal transformer as `autoregressive` asks for it, its batch split over the mesh.

    Of its rows, the first `codebook` are codes of the tokenizer; labels may have more.
    """

    def __init__(self, transformer: CausalTransformer, codebook: int):
        self._transformer, self._codebook = transformer, codebook

    def start(self, codes: jax.Array, prompt: jax.Array | None) -> tuple[jax.Array, Memory]:
        logits, memory = self._transformer.start(codes, prompt, pin=sharding.split_batch)
        return logits[:, : self._codebook], memory

    def advance(self, memory: Memory, code: jax.Array, index) -> tuple[jax.Array, Memory]:
        logits, memory = self._transformer.advance(memory, code, index, pin=sharding.split_batch)
        return logits[:, : self._codebook], memory

    def renew(self, memory: Memory, prompt: jax.Array) -> Memory:
        return self._transformer.renew(memory, prompt, pin=sharding.split_batch)


def check(config: ConfigDict, codebook: int, mesh) -> None:
    """Raises UsageError for a config.sample that nothing can be decoded with."""
    sharding.check_batch(config.batch_size, 1, mesh)
    parallel.check(config.steps, 0, config.schedule, config.order)
    marquee.check(config.cutoff, config.power)
    filters.check(config.temperature, config.top_k, config.top_p, codebook)
    guidance.schedule(config.guidance_schedule)
    if config.guidance_from not in ("prompt", "backbone"):
        raise UsageError(
            f"config.sample.guidance_from = {config.guidance_from!r}, expected prompt or backbone"
        )


class Sampler:
    """Decodes images with a backbone under given prompts.

    Args:
      backbone: tokenizer and transformer.
      transformer: the transformer's parameters on the mesh, where they are not the backbone's own.
      config: a config.sample.
      prompt: what the prompts were made by; None for the backbone's own classes.

    Attributes:
      seconds_per_image: of the last call's codes, without its first batch, which may have been
        compiled; None where there was no other full batch.
    """

    def __init__(
        self,
        backbone: Backbone,
        mesh,
        config: ConfigDict,
        compute: Compute = Compute(),  # noqa: B008
        transformer: Tree | None = None,
        prompt: PromptConfig | None = None,
    ):
        part = backbone.part("transformer")
        tokenizer = backbone.part("tokenizer")
        if transformer is None:
            transformer = part.placed(mesh)
        self._graphdef = part.prompted(prompt, **compute.of_transformer(), dropout=0.0)
        self._weights, self._mesh, self._config = transformer, mesh, config
        self.length, self.classes = tokenizer.cfg.length, part.cfg.classes
        self.causal = part.decoding == "autoregressive"
        side = tokenizer.cfg.latent_size
        self._grid = (side, side)
        check(config, tokenizer.cfg.codebook, mesh)
        self.guided = config.guidance != 1.0
        options = dict(
            grid=self._grid,
            top_k=config.top_k,
            guided=self.guided,
            guidance_schedule=config.guidance_schedule,
        )
        bind = lambda f, *static: jax.tree_util.Partial(
            _bound(f, self._graphdef, *static), self._weights
        )
        if self.causal:
            build = bind(_stepwise, tokenizer.cfg.codebook)
            self._sample = autoregressive.make_sampler(build, **options)
        else:
            self._sample = make_sampler(
                bind(_code_logits),
                steps=config.steps,
                schedule=config.schedule,
                order=config.order,
                **options,
            )
        self.seconds_per_image: float | None = None
        self._decode = make_decoder(tokenizer, mesh, compute.dtype)

    def check_start(self, start: np.ndarray | None) -> None:
        """Raises UsageError for known codes [n, L] that this transformer cannot go on from."""
        if self.causal and start is not None:
            autoregressive.check_known(_known(start), self._grid)

    def class_prompts(self, class_ids: np.ndarray) -> np.ndarray:
        """The backbone's own classes as headers of one prompt: [n] -> [n, 1, 1, 1, D]."""

        @jax.jit
        def prompts(weights, class_ids):
            return nnx.merge(self._graphdef, weights).class_prompt(class_ids)

        with jax.set_mesh(self._mesh):
            found = prompts(self._weights, np.asarray(class_ids, np.int32))
        return sharding.to_host(found, self._mesh)[:, None]

    def codes(
        self,
        headers: np.ndarray,
        key: jax.Array,
        *,
        uncond: np.ndarray | None = None,
        start: np.ndarray | None = None,
        cutoff: float | None = None,
        what: str = "sample",
    ) -> np.ndarray:
        """Image codes [n, L] of headers [n, K, depth, P, D], any n.

        Args:
          headers: each image's K prompts, in the order they scroll past; [n, K, depth, 2, P, D]
            of keys and values.
          key: image i of batch b depends on (key, b, i) alone, on any mesh.
          uncond: [depth, P, D], what guidance moves away from; None: the bare backbone.
          start: [n, L] with MASK where codes are to be made; default: everywhere. A causal
            transformer goes on from top rows, as many in all images.
          cutoff: of the marquee; default: the config's.

        Raises:
          UsageError: known codes that are not the top rows, of a causal transformer.
        """
        config, size = self._config, self._config.batch_size
        if start is None:
            start = np.full((len(headers), self.length), MASK, np.int32)
        values = dict(
            cutoff=config.cutoff if cutoff is None else cutoff,
            power=config.power,
            guidance_scale=config.guidance,
            guidance_power=config.guidance_power,
            temperature=config.temperature,
            top_p=config.top_p,
        )
        if self.causal:
            values["known"] = _known(start)
        else:
            values["choice_temperature"] = config.choice_temperature
        found, ends = [], []
        with jax.set_mesh(self._mesh), progress(len(headers), what, "image", delay=2.0) as bar:
            for batch, first in enumerate(range(0, len(headers), size)):
                rows = np.arange(first, first + size).clip(max=len(headers) - 1)
                inputs = {"headers": headers[rows], "start": start[rows].astype(np.int32)}
                if self.guided and uncond is not None:
                    inputs["uncond"] = np.repeat(uncond[None], size, axis=0)
                inputs = sharding.to_global(inputs, self._mesh)
                codes = self._sample(
                    jax.random.fold_in(key, batch),
                    inputs["headers"],
                    inputs.get("uncond"),
                    inputs["start"],
                    **values,
                )
                count = min(size, len(headers) - first)
                found.append(sharding.to_host(codes, self._mesh)[:count])
                ends.append(time.perf_counter())
                bar.update(count)
        batches = len(ends) - 1
        self.seconds_per_image = (ends[-1] - ends[0]) / (batches * size) if batches else None
        return np.concatenate(found)

    def images(self, *args, **kwargs) -> np.ndarray:
        """As `codes`, through the tokenizer's decoder: uint8 [n, S, S, 3]."""
        return self._decode(self.codes(*args, **kwargs))

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Codes [n, L] -> uint8 images [n, S, S, 3]."""
        return self._decode(codes)


def _known(start: np.ndarray) -> int:
    """How many codes in front are known in every row of start [n, L]."""
    known = start != MASK
    count = int(known[0].sum())
    if not (known == (np.arange(start.shape[1]) < count)).all():
        raise UsageError(
            "a causal transformer goes on from the top rows of an image; keep those alone, as many "
            "in every image (config.keep=top)"
        )
    return count


def make_prompts(cfg: PromptConfig, tree: Tree) -> Callable[..., np.ndarray]:
    """The function (class ids [n], instance ids [n] or None) -> host prompts [n, depth, P, D].

    Those of a prefix are [n, depth, 2, P, D].
    """
    graphdef, _ = create(lambda rngs: PromptGenerator(cfg, rngs=rngs))

    def prompts(class_ids: np.ndarray, instance_ids: np.ndarray | None = None) -> np.ndarray:
        generator = nnx.merge(graphdef, tree)
        instances = None if instance_ids is None else jnp.asarray(instance_ids, jnp.int32)
        return np.asarray(generator(jnp.asarray(class_ids, jnp.int32), instances))

    return prompts


def unconditional(config: ConfigDict, prompts: Callable[..., np.ndarray]) -> np.ndarray | None:
    """The prompt that guidance moves away from, [depth, P, D]; None for the bare backbone.

    config: a config.sample; prompts: of `make_prompts`.
    """
    if config.guidance == 1.0 or config.guidance_from == "backbone":
        return None
    return prompts(np.array([NONE]))[0]
