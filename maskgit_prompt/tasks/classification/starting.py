"""Prompt tokens that start as patches of the images to tune on.

For each block with fresh tokens its inputs are clustered (k-means, one cluster per token), and a
token starts as the input nearest to a cluster's mean. What a prompt replaces then looks to the
block like something it has seen.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from maskgit_prompt import streams
from maskgit_prompt.data import splits
from maskgit_prompt.devices import sharding
from maskgit_prompt.tasks.classification.plan import Plan

IMAGES = 32  # images to tune on whose patches are looked at, about


def from_patches(plan: Plan, seed: int) -> np.ndarray:
    """The prompt generator's table, [slots, D] float32; seed: of the clusters."""
    part, model, cfg = plan.backbone.part("encoder"), plan.model, plan.sizes.prompt
    labels = plan.data.labels(plan.data.tune)
    some = plan.data.tune[splits.thin(labels, IMAGES, plan.config.data.seed, least=1)]
    images = plan.data.images.read(some)
    first = plan.sizes.placing.first
    count = 1 if cfg.shared else max(1, cfg.depth)

    def inputs(weights, pixels):
        encoder = nnx.merge(model.encoder, weights)
        x = model.normalization(pixels)
        _, outputs = encoder.hidden(x, keep_layers=True)
        before = [encoder.embed(x), *outputs][first : first + count]
        return jnp.stack([tokens[:, 1:] for tokens in before])  # [count, n, L, D]

    with jax.set_mesh(plan.mesh):
        found = jax.jit(inputs)(part.placed(plan.mesh), images)
    found = sharding.to_host(found, plan.mesh)
    found = found.reshape(count, -1, found.shape[-1]).astype(np.float32)
    seed = streams.seed_of(seed, "prompt")
    return np.concatenate([nearest(x, cfg.tokens, seed) for x in found])


def nearest(x: np.ndarray, number: int, seed: int) -> np.ndarray:
    """The rows of x [n, D] nearest to the means of `number` clusters, [number, D].

    Where there are fewer rows, they are repeated.
    """
    from sklearn.cluster import KMeans

    if len(x) <= number:
        return x[np.arange(number) % len(x)]
    means = KMeans(number, n_init=1, random_state=seed).fit(x).cluster_centers_
    distances = ((means[:, None] - x[None]) ** 2).sum(-1)
    return x[distances.argmin(1)]
