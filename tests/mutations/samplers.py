"""Wrong changes to the samplers beside the plain ones, and to the study that compares settings."""

from tests.mutations.mutation import in_file

ENTROPY = ("tests/decoding/test_entropy.py",)
REMASKING = ("tests/decoding/test_remasking.py",)
JACOBI = ("tests/decoding/test_jacobi.py",)
STEPWISE = ("tests/models/test_stepwise.py::test_codes_are_read_from_places_of_each_sequences_own",)
STUDY = ("tests/jobs/test_sample_study.py",)
GRID = ("tests/config/test_grid.py",)
CALLS = ("tests/tasks/generation/test_sampler_calls.py",)

MUTATIONS = (
    *in_file(
        "decoding/entropy.py",
        ENTROPY,
        (
            "entropy-bound-counts-the-largest",
            " - jax.lax.cummax(entropy, axis=entropy.ndim - 1)",
            "",
        ),
        ("entropy-bound-exclusive", "jnp.sum(error <= bound", "jnp.sum(error < bound"),
        ("entropy-may-decide-none", "jnp.maximum(1, jnp.sum(error", "jnp.maximum(0, jnp.sum(error"),
        ("entropy-decides-the-worst-rated", "-found.rating, jnp.inf", "found.rating, jnp.inf"),
        (
            "entropy-in-raster-order",
            "within(jnp.take_along_axis(entropy, order, axis=-1)",
            "within(jnp.sort(entropy, axis=-1)",
        ),
        (
            "entropy-header-stands-still",
            "logits_fn(codes, progress[:, 0])",
            "logits_fn(codes, 0 * progress[:, 0])",
        ),
        (
            "entropy-header-never-arrives",
            "jnp.maximum(unknown_at_start - 1, 1)",
            "jnp.maximum(unknown_at_start, 1)",
        ),
        ("entropy-noise-does-not-fade", "r = (done + 1) / ", "r = 0 * (done + 1) / "),
        ("entropy-counts-one-call", "codes), key, calls + 1", "codes), key, calls"),
    ),
    *in_file(
        "decoding/remasking.py",
        REMASKING,
        ("remasking-rounds-down", "keepdims=True) + u)", "keepdims=True))"),
        (
            "remasking-of-the-first",
            "jax.random.uniform(choice_key, decided.shape)",
            "jnp.arange(decided.shape[1])",
        ),
        ("remasking-of-too-many", "jnp.minimum(count, most)", "count"),
        ("remasking-of-unknown-codes", "return decided & (rank", "return ~decided & (rank"),
    ),
    *in_file(
        "decoding/parallel.py",
        REMASKING,
        ("remasking-of-codes-known-at-the-start", "~unknown & (start == MASKED)", "~unknown"),
        (
            "remasking-hides-more",
            "            count -= jnp.sum(again, axis=-1, keepdims=True)\n",
            "",
        ),
        (
            "remasking-by-another-share",
            "decided, config.remask, count)",
            "decided, config.top_p, count)",
        ),
    ),
    *in_file(
        "decoding/jacobi.py",
        JACOBI,
        (
            "jacobi-decides-the-wrong-guess",
            "return 1 + jnp.sum(jnp.cumprod",
            "return 2 + jnp.sum(jnp.cumprod",
        ),
        (
            "jacobi-counts-guesses-behind-a-wrong-one",
            "jnp.sum(jnp.cumprod(same, axis=1), axis=1)",
            "jnp.sum(same, axis=1)",
        ),
        (
            "jacobi-noise-of-other-codes",
            "window(noise, decided, size)",
            "window(noise, decided - 1, size)",
        ),
        (
            "jacobi-crosses-rows-while-the-header-moves",
            "most = (row_of(decided) + 1) * width if conditions.scrolls else length",
            "most = length",
        ),
        ("jacobi-header-stands-still", "conditions.front(now)", "conditions.front(0 * now)"),
        ("jacobi-header-of-the-row-before", "now = row_of(decided)", "now = row_of(decided - 1)"),
        (
            "jacobi-scale-of-the-first-code",
            "index = row_of(decided[:, None] + ahead) * width",
            "index = row_of(decided[:, None] + 0 * ahead) * width",
        ),
        (
            "jacobi-forgets-its-guesses",
            "codes = jax.vmap(put)(codes, draws, decided)",
            "codes = jax.vmap(put)(codes, draws.at[:, 1:].set(0), decided)",
        ),
        ("jacobi-known-codes-overwritten", ".at[:, :known].set(start[:, :known])", ""),
        ("jacobi-does-not-count-the-start", "memories, jnp.int32(1))", "memories, jnp.int32(0))"),
    ),
    *in_file(
        "models/causal.py",
        STEPWISE,
        (
            "extend-at-the-first-ones-place",
            "self._extend(memory, x, memory.slot + index, None, pin)",
            "self._extend(memory, x, memory.slot + jnp.ravel(index)[0], None, pin)",
        ),
        (
            "extend-at-the-first-position",
            "jnp.asarray(index)[..., None] + jnp.arange(codes.shape[1])",
            "0 * jnp.asarray(index)[..., None] + jnp.arange(codes.shape[1])",
        ),
    ),
    *in_file(
        "config/grid.py",
        GRID,
        ("grid-without-the-runs-own", "found: list[Changes] = [{}]", "found: list[Changes] = []"),
        (
            "grid-keeps-what-has-no-use",
            "given[name] != own[name] and name not in idle",
            "given[name] != own[name]",
        ),
        ("grid-with-the-same-twice", "if changes not in found:", "if True:"),
        ("grid-of-the-other-kind", "or GRIDS[transformer]", 'or GRIDS["masked"]'),
    ),
    *in_file(
        "jobs/sample_study.py",
        STUDY,
        (
            "study-chooses-the-worst",
            "(max if SCORES[by].better == HIGHER else min)",
            "(min if SCORES[by].better == HIGHER else max)",
        ),
        ("study-again-from-the-same-noise", "config.seed + AGAIN)", "config.seed)"),
        ("study-of-the-runs-seed", "config.seed = seed\n", "pass\n"),
        ("study-without-its-changes", "config.sample.update(changes)", "config.sample.update({})"),
        ("study-draws-finished-settings", "if done.exists():", "if False:"),
        ("study-own-and-best-exchanged", "own, renewed = again", "renewed, own = again"),
        (
            "study-of-other-images",
            "workdir.bind(home, found.images)",
            "workdir.bind(home, {})",
        ),
    ),
    *in_file(
        "report/sample_study.py",
        STUDY,
        (
            "study-page-worst-first",
            "sign = -1 if SCORES[by].better == HIGHER else 1",
            "sign = 1 if SCORES[by].better == HIGHER else -1",
        ),
        (
            "study-page-fewest-calls-of-all",
            "if row.get(by) is not None and low <= row[by] <= high",
            "if row.get(by) is not None",
        ),
    ),
    *in_file(
        "tasks/generation/earlier.py",
        STUDY,
        ("earlier-run-of-any-job", 'if (job := found["job"]) != default.job:', "if False:"),
    ),
    *in_file(
        "tasks/generation/sampling.py",
        CALLS,
        ("guesses-never-made", 'if config.sampler == "jacobi"', "if False"),
        ("calls-of-the-last-batch", "sum(calls) / len(calls)", "calls[-1]"),
    ),
)
