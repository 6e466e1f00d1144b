"""Wrong changes of the encoder-decoder of images and texts, and of its prefixes."""

from tests.mutations.mutation import in_file

OFA = ("tests/models/test_ofa.py",)
STEPS = ("tests/models/test_ofa_steps.py",)
PREFIXES = ("tests/models/test_prefixes.py",)
IMPORTER = ("tests/importers/test_ofa.py",)
METHODS = ("tests/tuning/test_multimodal_methods.py",)

MUTATIONS = (
    *in_file(
        "models/resnet.py",
        OFA,
        (
            "averages-of-norms-get-gradients",
            "map(jax.lax.stop_gradient, (self.mean[...], self.variance[...]))",
            "(self.mean[...], self.variance[...])",
        ),
        ("the-stem-halves-its-first-stage", "if stage > 0 and i == 0", "if i == 0"),
    ),
    *in_file(
        "models/ofa_positions.py",
        OFA,
        ("distances-backwards", "- np.arange(length)[None]  #", "+ 0 - np.arange(length)[::-1]  #"),
        (
            "columns-before-rows",
            "steps(y) * span + steps(x)",
            "steps(x) * span + steps(y)",
        ),
        (
            "the-front-of-codes-as-key-and-as-query",
            "rows[0], rows[:, 0], rows[0, 0] = span**2, span**2 + 1",
            "rows[:, 0], rows[0], rows[0, 0] = span**2, span**2 + 1",
        ),
        (
            "positions-scaled-as-contents-elsewhere",
            "(2 * q.shape[-1]) ** -0.5",
            "q.shape[-1] ** -0.5",
        ),
    ),
    *in_file(
        "models/ofa_encoder.py",
        OFA,
        ("types-exchanged", "TEXT, IMAGE = 0, 1", "TEXT, IMAGE = 1, 0"),
        (
            "images-that-are-not-there-are-seen",
            "if valid is None else valid.astype(bool)",
            "if valid is None else ~valid.astype(bool)",
        ),
        (
            "the-image-behind-the-text",
            "x = jnp.concatenate([grid, x], axis=1)",
            "x = jnp.concatenate([x, grid], axis=1)",
        ),
        (
            "padding-keeps-its-embedding",
            "x = x * seen[..., None].astype(dtype)",
            "x = x * jnp.ones_like(seen[..., None]).astype(dtype)",
        ),
    ),
    *in_file(
        "models/ofa_blocks.py",
        OFA,
        ("heads-without-their-scalars", "found * self.scales[:, None]", "found * 1"),
        (
            "keys-and-values-of-a-prefix-exchanged",
            "[own[:, 0], k], axis=1), jnp.concatenate([own[:, 1], v]",
            "[own[:, 1], k], axis=1), jnp.concatenate([own[:, 0], v]",
        ),
        (
            "a-prefix-behind-the-keys",
            "jnp.concatenate([own[:, 0], k], axis=1)",
            "jnp.concatenate([k, own[:, 0]], axis=1)",
        ),
    ),
    *in_file(
        "models/ofa_decoder.py",
        OFA,
        (
            "decoder-and-cross-prefix-exchanged",
            "for one in (prefixes.decoder, prefixes.cross)",
            "for one in (prefixes.cross, prefixes.decoder)",
        ),
        (
            "texts-and-codes-exchanged",
            "self.code_norm(x), self.text_norm(x)",
            "self.text_norm(x), self.code_norm(x)",
        ),
    ),
    *in_file(
        "models/ofa_decoder.py",
        STEPS,
        (
            "a-step-sees-the-next-slot",
            "<= slot)[None]",
            "<= slot + 1)[None]",
        ),
        (
            "beams-go-on-from-the-wrong-rows",
            "lambda x: x[:, rows], self.cache",
            "lambda x: x[:, rows[::-1]], self.cache",
        ),
        (
            "steps-without-the-weights-of-the-prefix",
            "bias=None if front is None else many(front.bias, 1)",
            "bias=None",
        ),
    ),
    *in_file(
        "models/prefixes.py",
        PREFIXES,
        ("bottom-layers-are-the-top", 'if end == "bottom":', 'if end == "top":'),
        (
            "shorter-prefixes-filled-up-in-front",
            "behind = (0, longest - tokens)",
            "behind = (longest - tokens, 0)",
        ),
        (
            "what-fills-up-is-seen",
            "weights.append(jnp.pad(own, [(0, 0), (0, 0), behind]))",
            "weights.append(jnp.pad(own, [(0, 0), (0, 0), behind], constant_values=1))",
        ),
        ("averages-of-equal-shares-always", "sum(share * x for share", "sum(x / len(xs) for share"),
    ),
    *in_file(
        "models/prompt.py",
        PREFIXES,
        (
            "gates-below-nothing",
            "jax.lax.stop_gradient(jnp.maximum(gates, 0) - gates)",
            "0",
        ),
        (
            "left-out-layers-are-the-others",
            "if layer not in self.left_out)",
            "if layer in (self.left_out or range(self.depth)))",
        ),
    ),
    *in_file(
        "importers/ofa.py",
        IMPORTER,
        ("averaged-weights-always", 'if options.weights == "ema":', "if averaged:"),
        ("tables-that-differ", "if name not in source or source[name] == words:", "if True:"),
    ),
    *in_file(
        "tuning/methods.py",
        METHODS,
        (
            "full-trains-averages",
            '(f"!multimodal/{STATS}", "multimodal/.*")',
            '("multimodal/.*",)',
        ),
    ),
    *in_file(
        "tuning/tuned_prefix.py",
        METHODS,
        ("a-file-holds-the-mlp", "    prefix = prefix.folded()\n", ""),
    ),
)
