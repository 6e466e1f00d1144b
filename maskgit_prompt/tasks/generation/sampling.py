"""Prompts to images, in batches: a transformer's sampler and the tokenizer's decoder."""

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from maskgit_prompt.backbones import Backbone
from maskgit_prompt.backbones.compiled import make_decoder
from maskgit_prompt.backbones.compute import Compute
from maskgit_prompt.decoding import autoregressive, jacobi
from maskgit_prompt.decoding.config import DecodeConfig
from maskgit_prompt.decoding.generate import make_sampler
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import UsageError
from maskgit_prompt.models.cache import Memory
from maskgit_prompt.models.causal import CausalTransformer
from maskgit_prompt.models.masked import MASK
from maskgit_prompt.models.prompt import NONE, PromptConfig, PromptGenerator
from maskgit_prompt.models.prompts import Prompt, stack
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
    """A causal transformer as `autoregressive` and `jacobi` ask for it, its batch split over the
    mesh.

    Of its rows, the first `codebook` are codes of the tokenizer; labels may have more.
    """

    def __init__(self, transformer: CausalTransformer, codebook: int):
        self._transformer, self._codebook = transformer, codebook

    def start(
        self, codes: jax.Array, prompt: Prompt | None, room: int = 0
    ) -> tuple[jax.Array, Memory]:
        pin = sharding.split_batch
        logits, memory = self._transformer.start(codes, prompt, pin=pin, room=room)
        return logits[:, : self._codebook], memory

    def advance(self, memory: Memory, code: jax.Array, index) -> tuple[jax.Array, Memory]:
        logits, memory = self._transformer.advance(memory, code, index, pin=sharding.split_batch)
        return logits[:, : self._codebook], memory

    def extend(self, memory: Memory, codes: jax.Array, index) -> tuple[jax.Array, Memory]:
        logits, memory = self._transformer.extend(memory, codes, index, pin=sharding.split_batch)
        return logits[..., : self._codebook], memory

    def renew(self, memory: Memory, prompt: Prompt) -> Memory:
        return self._transformer.renew(memory, prompt, pin=sharding.split_batch)


class Sampler:
    """Decodes images with a backbone under given prompts.

    Args:
      backbone: tokenizer and transformer.
      config: how codes are decoded; `config.check` tells whether it fits backbone and mesh.
      transformer: the transformer's parameters on the mesh, where they are not the backbone's own.
      prompt: what the prompts were made by; None for the backbone's own classes.

    Attributes:
      seconds_per_image: of the last call's codes, without its first batch, which may have been
        compiled; None where there was no other full batch.
      calls_per_batch: how often the last call of `codes` ran the transformer, for a batch on
        average: samplers may need fewer calls for some images than for others.
    """

    def __init__(
        self,
        backbone: Backbone,
        mesh,
        config: DecodeConfig,
        compute: Compute = Compute(),  # noqa: B008
        transformer: Tree | None = None,
        prompt: PromptConfig | None = None,
    ):
        part = backbone.part("transformer")
        tokenizer = backbone.part("tokenizer")
        if transformer is None:
            transformer = part.placed(mesh)
        self._graphdef = part.prompted(prompt, compute)
        self._weights, self._mesh, self._config = transformer, mesh, config
        self.length, self.classes = tokenizer.cfg.length, part.cfg.classes
        self.causal = part.decoding == "autoregressive"
        side = tokenizer.cfg.latent_size
        self._grid = (side, side)
        bind = lambda f, *static: jax.tree_util.Partial(
            _bound(f, self._graphdef, *static), self._weights
        )
        if self.causal:
            build = bind(_stepwise, tokenizer.cfg.codebook)
            make = (
                jacobi.make_sampler if config.sampler == "jacobi" else autoregressive.make_sampler
            )
            self._sample = make(build, grid=self._grid, keep_calls=True)
        else:
            self._sample = make_sampler(bind(_code_logits), grid=self._grid, keep_calls=True)
        self.seconds_per_image: float | None = None
        self.calls_per_batch: float | None = None
        self._decode = make_decoder(tokenizer, mesh, compute.dtype)

    def check_start(self, start: np.ndarray | None) -> None:
        """Raises UsageError for known codes [n, L] that this transformer cannot go on from."""
        if self.causal and start is not None:
            autoregressive.check_known(_known(start), self._grid)

    def class_prompts(self, class_ids: np.ndarray) -> Prompt:
        """The backbone's own classes [n] as headers of one prompt of one token: [n, 1, 1, D]."""

        @jax.jit
        def prompts(weights, class_ids):
            return nnx.merge(self._graphdef, weights).class_prompt(class_ids)

        with jax.set_mesh(self._mesh):
            found = prompts(self._weights, np.asarray(class_ids, np.int32))
        return stack([sharding.tree_to_host(found, self._mesh)])

    def codes(
        self,
        headers: Prompt,
        key: jax.Array,
        *,
        uncond: Prompt | None = None,
        start: np.ndarray | None = None,
        cutoff: float | None = None,
        batch_size: int | None = None,
        what: str = "sample",
    ) -> np.ndarray:
        """Image codes [n, L] of the headers of n images, any n.

        Args:
          headers: each image's K prompts, in the order they scroll past, as `prompts.stack` gives
            them: [n, K, …].
          key: image i of batch b depends on (key, b, i) alone, on any mesh.
          uncond: what guidance moves away from, one prompt for all images, [1, …]; None: the bare
            backbone.
          start: [n, L] with MASK where codes are to be made; default: everywhere. A causal
            transformer goes on from top rows, as many in all images.
          cutoff: of the marquee; default: the config's.
          batch_size: images per batch; default: the config's. Another one is compiled anew.

        Raises:
          UsageError: known codes that are not the top rows, of a causal transformer; a cutoff
            outside (0, 1].
        """
        config, size = self._config, batch_size or self._config.batch_size
        parts = self._mesh.shape["data"] * self._mesh.shape["fsdp"]
        padded = size + -size % parts
        if cutoff is not None:
            config = dataclasses.replace(config, cutoff=cutoff)
        if start is None:
            start = np.full((len(headers), self.length), MASK, np.int32)
        options = {"known": _known(start)} if self.causal else {}
        found, ends, calls = [], [], []
        with jax.set_mesh(self._mesh), progress(len(headers), what, "image", delay=2.0) as bar:
            for batch, first in enumerate(range(0, len(headers), size)):
                count = min(size, len(headers) - first)
                rows = first + np.arange(padded).clip(max=count - 1)
                inputs = {"headers": headers[rows], "start": start[rows].astype(np.int32)}
                if config.guided and uncond is not None:
                    inputs["uncond"] = uncond[np.zeros(padded, np.int32)]
                inputs = sharding.to_global(inputs, self._mesh)
                codes, called = self._sample(
                    jax.random.fold_in(key, batch),
                    inputs["headers"],
                    inputs.get("uncond"),
                    inputs["start"],
                    config,
                    **options,
                )
                found.append(sharding.to_host(codes, self._mesh)[:count])
                calls.append(int(jax.device_get(called)))
                ends.append(time.perf_counter())
                bar.update(count)
        self.calls_per_batch = sum(calls) / len(calls)
        batches = len(ends) - 1
        self.seconds_per_image = (ends[-1] - ends[0]) / (batches * size) if batches else None
        return np.concatenate(found)

    def images(
        self,
        headers: Prompt,
        key: jax.Array,
        *,
        uncond: Prompt | None = None,
        start: np.ndarray | None = None,
        cutoff: float | None = None,
        batch_size: int | None = None,
        what: str = "sample",
    ) -> np.ndarray:
        """As `codes`, through the tokenizer's decoder: uint8 [n, S, S, 3]."""
        options = dict(uncond=uncond, start=start, cutoff=cutoff, batch_size=batch_size, what=what)
        return self._decode(self.codes(headers, key, **options))

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Codes [n, L] -> uint8 images [n, S, S, 3]."""
        return self._decode(codes)


def even(number: int, most: int) -> int:
    """The size of batches for `number` images that leaves least room: 160 images, at most 64 in a
    batch, are three batches of 54."""
    return -(-number // -(-number // most))


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


class Prompts(Protocol):
    """Prompts on the host, of class ids [n] and instance ids [n]; NONE for none."""

    def __call__(self, class_ids: np.ndarray, instance_ids: np.ndarray | None = None) -> Prompt: ...


def make_prompts(cfg: PromptConfig, tree: Tree) -> Prompts:
    """What a generator of these parameters makes."""
    graphdef, _ = create(lambda rngs: PromptGenerator(cfg, rngs=rngs))

    def prompts(class_ids: np.ndarray, instance_ids: np.ndarray | None = None) -> Prompt:
        generator = nnx.merge(graphdef, tree)
        instances = None if instance_ids is None else jnp.asarray(instance_ids, jnp.int32)
        return jax.device_get(generator(jnp.asarray(class_ids, jnp.int32), instances))

    return prompts


def unconditional(config: DecodeConfig, prompts: Prompts) -> Prompt | None:
    """The one prompt [1, …] that guidance moves away from.

    None without guidance, and for guidance by the bare backbone.
    """
    if not config.guided or config.guidance_from == "backbone":
        return None
    return prompts(np.array([NONE]))
