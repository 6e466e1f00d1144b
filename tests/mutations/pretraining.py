"""Wrong changes to pretraining: sets, views, batches, the tokenizer's losses."""

from tests.mutations.mutation import in_file

MIXTURE = ("tests/data/test_mixture.py",)
NETWORKS = ("tests/tasks/pretraining/test_networks.py",)
VIEWS = ("tests/data/test_views.py",)
CORPUS = ("tests/data/test_corpus.py",)
CODEBOOK = ("tests/tasks/pretraining/test_codebook.py",)
RECONSTRUCTION = ("tests/tasks/pretraining/test_reconstruction.py",)

MUTATIONS = (
    *in_file(
        "data/mixture.py",
        MIXTURE,
        ("weights-ignored", "weights / weights.sum())", "weights * 0 + 1 / len(weights))"),
        ("sets-one-after-the-other", ".permutation(order)", ".permutation(order) * 0 + order"),
        (
            "images-of-a-round-come-again",
            "rounds[here] * self._counts[source] + ",
            "0 * rounds[here] + ",
        ),
        (
            "walk-of-the-first-set",
            "found[here] = part[walk]",
            "found[here] = self._parts[0][walk % 3]",
        ),
    ),
    *in_file(
        "data/views.py",
        VIEWS,
        ("everything-is-mirrored", "if flip and mirror < 0.5:", "if mirror < 0.5:"),
        ("nothing-is-mirrored", "if flip and mirror < 0.5:", "if False:"),
        ("opaque-images-shrink", "side = min(side, len(pixels))", "side = side"),
        ("zoom-always-the-least", "math.exp(least + zoom * (most - least))", "math.exp(least)"),
        ("grounds-always-white", "if kind < white:", "if True:"),
        ("black-is-white", "return np.zeros(3, np.uint8)", "return WHITE"),
        (
            "views-of-the-first-number",
            "(STREAM_MAKE_VIEW, row, number)",
            "(STREAM_MAKE_VIEW, row, 1)",
        ),
        (
            "views-alike-for-all-images",
            "(STREAM_MAKE_VIEW, row, number)",
            "(STREAM_MAKE_VIEW, 0, number)",
        ),
        ("plain-view-is-random", "if number == 0:", "if number < 0:"),
        (
            "labels-of-stored-views-tiled",
            "np.repeat(self.images.labels[rows], count)",
            "np.tile(self.images.labels[rows], count)",
        ),
        (
            "zoom-not-in-the-fingerprint",
            "repr(self._config), self._seed, count",
            "self._seed, count",
        ),
    ),
    *in_file(
        "data/corpus.py",
        CORPUS,
        (
            "labels-not-renumbered",
            "np.int32)[one.labels] for one",
            "np.int32)[one.labels] * 0 + one.labels for one",
        ),
        (
            "alpha-lost",
            "pixels[here, ..., : found.shape[-1]] = found",
            "pixels[here, ..., :3] = found[..., :3]",
        ),
        (
            "held-out-images-are-grounds",
            "photographs.append(train[-1])",
            "photographs.append(np.arange(start, start + len(one)))",
        ),
        ("all-sets-mirrored", "= name in config.flips", "= True"),
        ("held-out-of-the-first-set", "held.append(start + out)", "held.append(out)"),
    ),
    *in_file(
        "tasks/pretraining/codebook.py",
        CODEBOOK,
        (
            "decay-reversed",
            "self.decay * old + (1 - self.decay) * new",
            "self.decay * new + (1 - self.decay) * old",
        ),
        ("codes-are-sums", "total / jnp.maximum(count, 1e-12)[:, None]", "total"),
        ("no-code-starts-again", "jnp.where(dead[:, None], features[rows], total)", "total"),
        ("living-codes-start-again", "dead = count < self.revive", "dead = count > self.revive"),
    ),
    *in_file(
        "tasks/pretraining/reconstruction.py",
        RECONSTRUCTION,
        ("l2-ignored", " + self.l2 * mse}", "}"),
        (
            "l1-and-l2-exchanged",
            "self.l1 * jnp.mean(jnp.abs(error), (1, 2, 3)) + self.l2 * mse",
            "self.l2 * jnp.mean(jnp.abs(error), (1, 2, 3)) + self.l1 * mse",
        ),
        (
            "critic-before-its-start",
            'critic.weight * jnp.mean(batch["adversarial"])',
            "critic.weight",
        ),
        (
            "adaptive-weight-upside-down",
            "norms[0] / (norms[1] + 1e-4)",
            "norms[1] / (norms[0] + 1e-4)",
        ),
        ("adaptive-weight-not-used", "factor = factor * ratio", "factor = factor"),
        (
            "real-and-made-exchanged",
            "losses.discriminator_loss(real, fake, critic.kind)",
            "losses.discriminator_loss(fake, real, critic.kind)",
        ),
        (
            "discriminator-trains-the-tokenizer",
            "jax.lax.stop_gradient(model.decode_features(model.codebook[...][codes]))",
            "model.decode_features(model.codebook[...][codes])",
        ),
        (
            "penalty-in-every-step",
            "jax.lax.cond(factor > 0, measure",
            "jax.lax.cond(factor >= 0, measure",
        ),
        ("penalty-not-weighted", "loss = loss + factor * penalty", "loss = loss + penalty"),
        (
            "codebook-trained-twice",
            'terms = {**terms, "codebook": jnp.zeros(())}',
            "terms = {**terms}",
        ),
        (
            "perceptual-factor-ignored",
            "self.perceptual * self.distance(tree, images, made)",
            "self.distance(tree, images, made)",
        ),
    ),
    *in_file(
        "tasks/pretraining/networks.py",
        NETWORKS,
        ("remat-not-in-pretraining", "remat=config.train.remat", "remat=False"),
        ("remat-is-stored", "            running = data", "            cfg = running = data"),
    ),
)
