"""Wrong changes to decoding: the marquee, guidance, samplers and their settings."""

from tests.mutations.mutation import in_file

MARQUEE = ("tests/decoding/test_marquee.py",)
GUIDANCE = ("tests/decoding/test_guidance.py",)
SCHEDULES = ("tests/decoding/test_schedules.py",)
TEMPERATURE = ("tests/decoding/test_filters.py::test_temperature_by_hand",)
STEPS_BY_HAND = ("tests/decoding/test_steps_by_hand.py",)
COUNTS = ("tests/decoding/test_parallel.py::test_counts_are_each_images_own",)
HALTON = ("tests/decoding/test_parallel.py::test_halton_reveals_in_its_order_and_skips_the_known",)
GENERATE = ("tests/decoding/test_generate.py",)
BY_ROWS = (
    "tests/decoding/test_autoregressive.py::test_the_header_moves_on_by_rows",
    "tests/decoding/test_autoregressive.py::test_completion_keeps_the_top_rows_and_their_progress",
    "tests/decoding/test_autoregressive.py::test_guidance_by_hand",
    "tests/decoding/test_autoregressive.py::test_guidance_grows_by_rows",
    "tests/decoding/test_autoregressive.py::test_guidance_grows_by_rows_by_its_own_power",
    "tests/decoding/test_autoregressive.py::test_guidance_acts_in_rows_of_its_interval_alone",
)
SAMPLER_CALLS = ("tests/tasks/generation/test_sampler_calls.py",)
CONFIG = ("tests/decoding/test_config.py",)
ORDERS = ("tests/decoding/test_orders.py",)
FILTERS = ("tests/decoding/test_filters.py",)

MUTATIONS = (
    *in_file(
        "decoding/marquee.py",
        MARQUEE,
        (
            "marquee-reversed",
            "return (1 - weight) * here + weight * there",
            "return weight * here + (1 - weight) * there",
        ),
        (
            "marquee-ignores-cutoff",
            "jnp.asarray(p, jnp.float32) / cutoff",
            "jnp.asarray(p, jnp.float32)",
        ),
        ("marquee-ignores-power", " ** power * (num_prompts - 1)", " * (num_prompts - 1)"),
        (
            "marquee-does-not-stop-at-cutoff",
            "jnp.minimum(jnp.asarray(p, jnp.float32) / cutoff, 1.0)",
            "(jnp.asarray(p, jnp.float32) / cutoff)",
        ),
        (
            "marquee-of-each-image-at-the-first-ones-progress",
            "jax.vmap(alone)(prompts, jnp.asarray(p))",
            "jax.vmap(alone)(prompts, jnp.asarray(p) * 0 + p[0])",
        ),
        ("marquee-jumps", "return (1 - weight) * here + weight * there", "return here"),
        (
            "marquee-never-arrives",
            "jnp.asarray(step, jnp.float32) / max(steps - 1, 1)",
            "jnp.asarray(step, jnp.float32) / steps",
        ),
    ),
    *in_file(
        "decoding/guidance.py",
        GUIDANCE,
        (
            "guidance-exchanged",
            "uncond + scale * (cond - uncond)",
            "cond + scale * (uncond - cond)",
        ),
        (
            "guidance-other-convention",
            "uncond + scale * (cond - uncond)",
            "cond + scale * (cond - uncond)",
        ),
        (
            "guidance-outside-of-its-interval",
            "jnp.where((begin <= p) & (p <= end), _S",
            "jnp.where((begin > p) | (p > end), _S",
        ),
        ("guidance-without-the-end", "(p <= end)", "(p < end)"),
        ("guidance-falls", '"linear": lambda p, power: p,', '"linear": lambda p, power: 1 - p,'),
    ),
    *in_file(
        "decoding/schedules.py",
        SCHEDULES,
        (
            "schedule-inverted",
            "lambda r, total: jnp.cos(jnp.pi / 2 * r)",
            "lambda r, total: jnp.sin(jnp.pi / 2 * r)",
        ),
        ("linear-schedule-inverted", "lambda r, total: 1.0 - r\n", "lambda r, total: r\n"),
    ),
    *in_file(
        "decoding/filters.py",
        TEMPERATURE,
        (
            "temperature-multiplies",
            "logits / jnp.where(greedy, 1.0, temperature)",
            "logits * jnp.where(greedy, 1.0, temperature)",
        ),
    ),
    *in_file(
        "decoding/filters.py",
        FILTERS,
        (
            "top-p-drops-the-code-that-crosses",
            "jnp.sum(before <= p, axis=-1",
            "jnp.sum(before + probs <= p, axis=-1",
        ),
        ("top-k-drops-the-k-th", "jnp.where(kept < kth", "jnp.where(kept <= kth"),
    ),
    *in_file(
        "decoding/parallel.py",
        STEPS_BY_HAND,
        (
            "least-confident-kept",
            "lowest(rating, count)",
            "lowest(jnp.where(unknown, -rating, jnp.inf), count)",
        ),
        ("choice-temperature-not-annealed", "choice_temperature * (1.0 - r)", "choice_temperature"),
        ("choice-temperature-rises", "choice_temperature * (1.0 - r)", "choice_temperature * r"),
        (
            "choice-temperature-ignored",
            "return jnp.log(probs) + temperature * jax.random.gumbel(key, probs.shape)",
            "return jnp.log(probs)",
        ),
        (
            "known-codes-overwritten",
            "filled = jnp.where(unknown, sampled, codes)",
            "filled = sampled",
        ),
        ("known-codes-re-masked", "jnp.where(unknown, probs, jnp.inf)", "probs"),
        ("plan-of-the-step-before", "        r = (t + 1) / steps\n", "        r = t / steps\n"),
        (
            "confidence-of-the-best-code",
            "jnp.take_along_axis(probs, sampled[..., None], axis=-1)[..., 0]",
            "jnp.max(probs, axis=-1)",
        ),
        (
            "temperature-not-passed",
            "filter_logits(logits, config.temperature,",
            "filter_logits(logits, 1.0,",
        ),
        (
            "parallel-steps-share-a-key",
            "return (codes, filled, key), T",
            "return (codes, filled, carry[2]), T",
        ),
        (
            "choice-temperature-is-the-temperature",
            "config.choice_temperature * (1.0 - r)",
            "config.temperature * (1.0 - r)",
        ),
    ),
    *in_file(
        "decoding/parallel.py",
        COUNTS,
        (
            "counts-of-all-codes",
            "planned = jnp.floor(unknown_at_start *",
            "planned = jnp.floor(length *",
        ),
    ),
    *in_file(
        "decoding/parallel.py",
        HALTON,
        (
            "order-reversed",
            "jnp.where(unknown, -places, jnp.inf)",
            "jnp.where(unknown, places, jnp.inf)",
        ),
    ),
    *in_file(
        "decoding/generate.py",
        GENERATE,
        (
            "parallel-guidance-halves-exchanged",
            "cond, free = jnp.split(both, 2)",
            "free, cond = jnp.split(both, 2)",
        ),
        (
            "parallel-header-stands-still",
            "marquee.progress(t, config.steps)",
            "marquee.progress(0, config.steps)",
        ),
        (
            "parallel-cutoff-and-power-exchanged",
            "p, config.cutoff, config.power",
            "p, config.power, config.cutoff",
        ),
        (
            "parallel-scale-stands-still",
            "scale_schedule(p, config.guidance,",
            "scale_schedule(1.0, config.guidance,",
        ),
        (
            "parallel-guidance-by-itself",
            "guidance.both(prompt, uncond)",
            "guidance.both(prompt, prompt)",
        ),
        ("bare-backbone-with-prompt", "logits_of(codes, None)", "logits_of(codes, prompt)"),
        (
            "guidance-with-the-power-of-the-marquee",
            "config.guidance, config.guidance_power, *interval)",
            "config.guidance, config.power, *interval)",
        ),
        (
            "guidance-scale-is-its-power",
            "scale_schedule(p, config.guidance,",
            "scale_schedule(p, config.guidance_power,",
        ),
        (
            "guidance-interval-exchanged",
            "interval = config.guidance_begin, config.guidance_end",
            "interval = config.guidance_end, config.guidance_begin",
        ),
        (
            "guided-by-the-backbone-the-wrong-way",
            "cond, free = logits_of(codes, prompt), logits_of(codes, None)",
            "free, cond = logits_of(codes, prompt), logits_of(codes, None)",
        ),
    ),
    *in_file(
        "decoding/autoregressive.py",
        BY_ROWS,
        (
            "causal-guidance-halves-exchanged",
            "cond, free = jnp.split(logits[0], 2)",
            "free, cond = jnp.split(logits[0], 2)",
        ),
        (
            "causal-header-stands-still",
            "p, config = marquee.progress(row, self.grid[0]), self.config",
            "p, config = marquee.progress(0, self.grid[0]), self.config",
        ),
        (
            "causal-header-by-columns",
            "p = marquee.progress(index // self.grid[1], self.grid[0])",
            "p = marquee.progress(index % self.grid[1], self.grid[0])",
        ),
        (
            "causal-header-begins-anew",
            "conditions.start(model, start[:, :known], first)",
            "conditions.start(model, start[:, :known], 0)",
        ),
        (
            "causal-cutoff-and-power-exchanged",
            "prompts, p, config.cutoff, config.power",
            "prompts, p, config.power, config.cutoff",
        ),
        (
            "causal-known-codes-overwritten",
            "codes = start.at[:, known].set",
            "codes = start.at[:, 0].set",
        ),
        (
            "causal-guidance-with-the-power-of-the-marquee",
            "                config.guidance_power,\n",
            "                config.power,\n",
        ),
        (
            "causal-guidance-interval-exchanged",
            "config.guidance_begin,\n                config.guidance_end,",
            "config.guidance_end,\n                config.guidance_begin,",
        ),
    ),
    *in_file(
        "decoding/autoregressive.py",
        STEPS_BY_HAND,
        (
            "causal-codes-share-a-key",
            "filters.draw(jax.random.fold_in(key, index), kept)",
            "filters.draw(key, kept)",
        ),
        (
            "causal-place-off-by-one",
            "model.advance(m, last, index - 1)",
            "model.advance(m, last, index)",
        ),
        (
            "causal-follows-the-code-two-before",
            "tiled(codes)[:, index - 1]",
            "tiled(codes)[:, index - 2]",
        ),
        (
            "causal-temperature-not-passed",
            "filter_logits(found, config.temperature",
            "filter_logits(found, 1.0",
        ),
    ),
    *in_file(
        "tasks/generation/sampling.py",
        SAMPLER_CALLS,
        ("sampler-batches-share-a-key", "jax.random.fold_in(key, batch)", "key"),
        ("sampler-keeps-padding", "[:count])", ")"),
        (
            "sampler-headers-reversed",
            '"headers": headers[rows]',
            '"headers": headers[rows][:, ::-1]',
        ),
        ("sampler-ignores-given-cutoff", "if cutoff is not None:", "if False:"),
        ("sampler-ignores-start", "if start is None:", "if True:"),
        (
            "sampler-without-unconditional-prompt",
            "if config.guided and uncond is not None",
            "if False",
        ),
        ("guidance-away-from-class-0", "prompts(np.array([NONE]))", "prompts(np.array([0]))"),
        (
            "guidance-from-exchanged",
            'config.guidance_from == "backbone"',
            'config.guidance_from == "prompt"',
        ),
        (
            "made-prompts-ids-exchanged",
            "generator(jnp.asarray(class_ids, jnp.int32), instances)",
            "generator(instances, jnp.asarray(class_ids, jnp.int32))",
        ),
        (
            "made-prompts-ignore-instances",
            "generator(jnp.asarray(class_ids, jnp.int32), instances)",
            "generator(jnp.asarray(class_ids, jnp.int32))",
        ),
        (
            "sampler-computes-as-it-likes",
            "prompted(prompt, compute)",
            "prompted(prompt, Compute())",
        ),
        (
            "sampler-decodes-in-another-type",
            "make_decoder(tokenizer, mesh, compute.dtype)",
            'make_decoder(tokenizer, mesh, "float32")',
        ),
    ),
    *in_file(
        "decoding/config.py",
        SAMPLER_CALLS,
        ("never-guided", "return self.guidance != 1.0", "return False"),
    ),
    *in_file(
        "decoding/config.py",
        CONFIG,
        (
            "settings-unpacked-in-another-order",
            "zip(STATIC + TRACED, [*static, *traced], strict=True)",
            "zip(TRACED + STATIC, [*static, *traced], strict=True)",
        ),
        ("batch-size-not-checked", "        sharding.check_batch(self.batch_size, 1, mesh)\n", ""),
        ("guided-at-0-alone", "return self.guidance != 1.0", "return self.guidance > 1.0"),
    ),
    *in_file(
        "decoding/orders.py",
        ORDERS,
        (
            "halton-rows-and-columns-exchanged",
            "_mirrored(index, 2, height) * width + _mirrored(index, 3, width)",
            "_mirrored(index, 3, height) * width + _mirrored(index, 2, width)",
        ),
        (
            "places-are-the-order",
            "return jnp.argsort(jnp.asarray(order), axis=-1)",
            "return jnp.asarray(order)",
        ),
    ),
)
