"""Wrong changes to what is learned: examples, losses, evaluations."""

from tests.mutations.mutation import in_file

WIRING = ("tests/tasks/generation/test_wiring.py",)
PROMPT_LOSS = ("tests/tasks/generation/test_prompt_loss.py",)
PROMPT_TUNING = ("tests/tasks/generation/test_prompt_tuning.py",)
EVALUATOR = ("tests/tasks/generation/test_evaluator.py",)
OBJECTIVES = (
    "tests/tasks/generation/test_objectives.py::test_every_code_counts_and_noise_is_in_the_input_alone",
    "tests/tasks/generation/test_objectives.py::test_rounds_of_masking_are_spread_evenly",
    "tests/tasks/generation/test_objectives.py::test_the_kind_decides",
)
MASKING = (
    "tests/tasks/test_losses.py::test_every_row_has_its_own_count",
    "tests/tasks/test_losses.py::test_an_image_without_chosen_positions_counts_as_zero",
)

MUTATIONS = (
    *in_file(
        "tasks/generation/prompt_tuning.py",
        WIRING,
        (
            "held-out-labels-reversed-for-tuning",
            "test_labels=data.labels(data.test)",
            "test_labels=data.labels(data.test)[::-1]",
        ),
        (
            "held-out-codes-are-tuned-ones",
            "test=stored.plain(data.test)",
            "test=stored.plain(data.tune)",
        ),
        ("tuned-on-held-out-codes", "codes=stored.of(data.tune)", "codes=stored.of(data.test)"),
        (
            "most-ignored-by-the-training-loss",
            "scored=splits.thin(labels, config.score.most, config.data.seed)",
            "scored=splits.thin(labels, 0, config.data.seed)",
        ),
        (
            "training-loss-with-the-seed-of-tuning",
            "scored=splits.thin(labels, config.score.most, config.data.seed)",
            "scored=splits.thin(labels, config.score.most, config.seed)",
        ),
    ),
    *in_file(
        "tasks/generation/prompt_tuning.py",
        PROMPT_TUNING,
        (
            "batch-ids-exchanged",
            (
                '"class_ids": codes.labels[rows],\n'
                '            "instance_ids": rows.astype(np.int32),'
            ),
            (
                '"instance_ids": codes.labels[rows],\n'
                '            "class_ids": rows.astype(np.int32),'
            ),
        ),
        (
            "instance-ids-are-places-in-the-batch",
            '"instance_ids": rows.astype(np.int32)',
            '"instance_ids": np.arange(size, dtype=np.int32)',
        ),
        (
            "labels-of-the-batchs-places",
            '"class_ids": codes.labels[rows]',
            '"class_ids": codes.labels[:size]',
        ),
        ("views-always-0", "codes.codes[rows, view]", "codes.codes[rows, 0]"),
        (
            "evaluated-on-augmented-views",
            "codes.codes[codes.scored, 0]",
            "codes.codes[codes.scored, 1]",
        ),
        (
            "evaluated-on-the-first-images",
            "codes.codes[codes.scored, 0]",
            "codes.codes[np.arange(len(codes.scored)), 0]",
        ),
        (
            "batch-of-every-step-the-same",
            "batch_indices(config.seed, step, len",
            "batch_indices(config.seed, 0, len",
        ),
        (
            "batch-not-of-the-runs-seed",
            "batch_indices(config.seed, step, len",
            "batch_indices(config.data.seed, step, len",
        ),
        (
            "view-of-every-step-the-same",
            "views(config.seed, step, size",
            "views(config.seed, 0, size",
        ),
        ("view-not-of-the-seed", "views(config.seed, step, size", "views(0, step, size"),
        (
            "losses-exchanged-in-score",
            (
                '"train": lambda tree: evaluate(tree, plain, codes.labels[codes.scored]),\n'
                '            "heldout": lambda tree: evaluate(tree, codes.test, '
                "codes.test_labels),"
            ),
            (
                '"heldout": lambda tree: evaluate(tree, plain, codes.labels[codes.scored]),\n'
                '            "train": lambda tree: evaluate(tree, codes.test, '
                "codes.test_labels),"
            ),
        ),
        (
            "held-out-loss-with-training-labels",
            "codes.test, codes.test_labels)",
            "codes.test, codes.labels[: len(codes.test)])",
        ),
        (
            "held-out-labels-reversed",
            "codes.test, codes.test_labels)",
            "codes.test, codes.test_labels[::-1])",
        ),
        (
            "held-out-loss-of-training-codes",
            "evaluate(tree, codes.test, codes.test_labels)",
            "evaluate(tree, plain, codes.labels[codes.scored])",
        ),
        (
            "training-labels-not-of-the-scored",
            "plain, codes.labels[codes.scored])",
            "plain, codes.labels[: len(plain)])",
        ),
        ("frozen-without-tokenizer", ' + params.count(backbone.part("tokenizer").tree)', ""),
        (
            "frozen-is-the-trainable",
            "frozen=tuned.frozen + params",
            "frozen=tuned.trainable + params",
        ),
        ("examples-are-held-out-images", "number=len(codes.labels)", "number=len(codes.test)"),
        ("scratch-starts-from-the-backbone", "    if scratch:", "    if False:"),
        ("always-from-scratch", "    if scratch:", "    if True:"),
        (
            "prompt-is-not-the-tuned-one",
            'sharding.tree_to_host(tuned.tree["prompt"], mesh)',
            'tree["prompt"]',
        ),
        (
            "prompt-stays-on-the-mesh",
            'sharding.tree_to_host(tuned.tree["prompt"], mesh)',
            'tuned.tree["prompt"]',
        ),
        (
            "transformer-is-not-the-tuned-one",
            'transformer=tuned.tree["transformer"]',
            'transformer=tree["transformer"]',
        ),
        (
            "transformer-given-back-is-the-prompt",
            'transformer=tuned.tree["transformer"]',
            'transformer=tuned.tree["prompt"]',
        ),
        ("best-by-the-training-loss", 'best="heldout" if keep_best', 'best="train" if keep_best'),
        ("best-always-kept", 'best="heldout" if keep_best else ""', 'best="heldout"'),
        ("best-never-kept", 'best="heldout" if keep_best else ""', 'best=""'),
        (
            "prompt-from-the-scratch-stream",
            'seed_of(config.seed, "prompt")',
            'seed_of(config.seed, "scratch")',
        ),
        (
            "scratch-from-the-prompt-stream",
            'seed_of(config.seed, "scratch")',
            'seed_of(config.seed, "prompt")',
        ),
        ("prompt-not-of-the-seed", 'seed_of(config.seed, "prompt")', 'seed_of(0, "prompt")'),
        (
            "objective-of-the-transformers-codes",
            'backbone.part("tokenizer").cfg.codebook)',
            'backbone.part("transformer").cfg.codebook)',
        ),
        (
            "objective-not-of-the-kind",
            "make_objective(config, part.decoding",
            'make_objective(config, "autoregressive"',
        ),
        (
            "another-kind-from-scratch",
            "make_module(part.kind, part.cfg)",
            'make_module("causal", part.cfg)',
        ),
        ("remat-ignored", "remat=config.train.remat", "remat=False"),
        ("computed-in-another-type", "Compute.of(config), remat", "Compute(), remat"),
        (
            "evaluator-models-exchanged",
            "make_evaluator(config, objective, model, generator, mesh)",
            "make_evaluator(config, objective, generator, model, mesh)",
        ),
        (
            "loss-models-exchanged",
            "prompt_loss(model, generator, objective)",
            "prompt_loss(generator, model, objective)",
        ),
    ),
    *in_file(
        "tasks/generation/loss.py",
        PROMPT_LOSS,
        (
            "class-and-instance-ids-exchanged",
            'generate(batch["class_ids"], batch["instance_ids"], keys[2])',
            'generate(batch["instance_ids"], batch["class_ids"], keys[2])',
        ),
        (
            "prompt-loss-ignores-instances",
            'generate(batch["class_ids"], batch["instance_ids"], keys[2])',
            'generate(batch["class_ids"], None, keys[2])',
        ),
        (
            "prompt-loss-ignores-classes",
            'generate(batch["class_ids"], batch["instance_ids"], keys[2])',
            'generate(None, batch["instance_ids"], keys[2])',
        ),
        (
            "prompt-loss-ignores-its-key",
            'batch["instance_ids"], keys[2])',
            'batch["instance_ids"])',
        ),
        (
            "prompt-loss-has-one-key",
            'batch["instance_ids"], keys[2])',
            'batch["instance_ids"], jax.random.key(0))',
        ),
        (
            "prompt-loss-transformer-without-dropout",
            "model.code_logits(inputs, prompt, key=keys[3], pin",
            "model.code_logits(inputs, prompt, pin",
        ),
        (
            "prompt-loss-sees-hidden-codes",
            "model.code_logits(inputs, prompt, key",
            'model.code_logits(batch["codes"], prompt, key',
        ),
        (
            "pretraining-keeps-what-it-should-drop",
            "jnp.where(drop, NONE, batch",
            "jnp.where(~drop, NONE, batch",
        ),
        (
            "pretraining-drops-nothing",
            "class_ids=class_ids, key=keys[3]",
            'class_ids=batch["class_ids"], key=keys[3]',
        ),
    ),
    *in_file(
        "tasks/generation/evaluator.py",
        EVALUATOR,
        ("evaluator-divides-by-all-codes", "jnp.sum(weights, -1), None", "weights.shape[-1], None"),
        (
            "evaluator-counts-all-codes",
            "jnp.sum(loss * weights, -1) / jnp.sum(weights, -1), None",
            "jnp.mean(loss, -1), None",
        ),
        ("evaluator-smooths-labels", "codes, 0.0\n", "codes, objective.smoothing\n"),
        ("evaluator-drops-conditions", '(batch["class_ids"])', '(batch["class_ids"], None, key)'),
        (
            "evaluator-sees-hidden-codes",
            "transformer.code_logits(inputs, **condition",
            "transformer.code_logits(codes, **condition",
        ),
        (
            "evaluator-with-dropout",
            "**condition, pin=sharding.split_batch), codes",
            "**condition, key=key, pin=sharding.split_batch), codes",
        ),
        ("evaluator-sums-rounds", "jnp.arange(rounds))[0] / rounds", "jnp.arange(rounds))[0]"),
        (
            "evaluator-repeats-round-0",
            "objective.evaluated(key, codes, r, rounds)",
            "objective.evaluated(key, codes, 0, rounds)",
        ),
        ("evaluator-counts-padding", "values[: min(chunk, len(codes) - first)]", "values"),
        (
            "evaluator-labels-of-the-first-chunk",
            '"class_ids": labels[rows]',
            '"class_ids": labels[rows - first]',
        ),
        (
            "evaluator-chunks-draw-the-same",
            "jax.random.fold_in(seed_key, number)",
            "jax.random.fold_in(seed_key, 0)",
        ),
        (
            "evaluator-averages-chunks",
            "np.mean(np.concatenate(found))",
            "np.mean([np.mean(x) for x in found])",
        ),
        ("evaluator-ignores-asked-rounds", "min(config.score.rounds, DRAWS", "min(1, DRAWS"),
        ("evaluator-draws-too-many", "DRAWS // len(codes)", "-(-DRAWS // len(codes))"),
        (
            "evaluator-ignores-the-size-of-images",
            "max(1, CODES // codes.shape[1])",
            "max(1, CODES)",
        ),
        (
            "evaluator-from-another-stream",
            'seed_of(config.seed, "evaluate")',
            'seed_of(config.seed, "train")',
        ),
        ("evaluator-not-of-the-seed", 'seed_of(config.seed, "evaluate")', 'seed_of(0, "evaluate")'),
        ("evaluator-without-images", ("        if not len(codes):\n            return None\n"), ""),
    ),
    *in_file(
        "tasks/generation/objectives.py",
        OBJECTIVES,
        ("evaluation-rounds-not-spread", "(r + start) / rounds", "start"),
        (
            "next-code-keeps-too-little",
            "kept = jax.random.bernoulli(keys[0], self.keep",
            "kept = jax.random.bernoulli(keys[0], 1 - self.keep",
        ),
        ("causal-asked-as-masked", 'if decoding == "autoregressive"', 'if decoding == "parallel"'),
    ),
    *in_file(
        "tasks/generation/masking.py",
        MASKING,
        (
            "hides-the-others",
            "jnp.where(chosen, masked, codes)",
            "jnp.where(chosen, codes, masked)",
        ),
        ("hides-one-fewer", "jnp.ceil(jnp.clip", "jnp.floor(jnp.clip"),
    ),
    *in_file(
        "tasks/losses.py",
        MASKING,
        (
            "cross-entropy-unweighted",
            "smoothed_cross_entropy(logits, labels, smoothing) * weights",
            "smoothed_cross_entropy(logits, labels, smoothing)",
        ),
    ),
    *in_file(
        "tasks/losses.py",
        PROMPT_LOSS,
        (
            "cross-entropy-over-all-codes",
            "jnp.sum(loss, -1) / jnp.maximum(jnp.sum(weights, -1), 1e-8)",
            "jnp.mean(loss, -1)",
        ),
        (
            "smoothing-ignored",
            "jax.nn.one_hot(labels, logits.shape[-1]), smoothing)",
            "jax.nn.one_hot(labels, logits.shape[-1]), 0.0)",
        ),
    ),
    *in_file(
        "backbones/backbone.py",
        PROMPT_TUNING,
        ("tuned-with-the-backbones-dropout", "dropout=0.0, remat=remat", "remat=remat"),
    ),
)
