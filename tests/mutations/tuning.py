"""Wrong changes to the step, the loop, the optimizers and random streams."""

from tests.mutations.mutation import in_file

STEP = ("tests/tuning/test_step.py",)
AVERAGE = ("tests/tuning/test_train.py::test_average_of_two_steps",)
TUNE = ("tests/tuning/test_tune.py",)
EPOCHS = ("tests/tuning/test_tune.py::test_steps_by_the_size_of_the_set",)
STREAMS = ("tests/test_streams.py",)
OPTIMIZERS = ("tests/tuning/test_optimizers.py",)
PARAMS = ("tests/test_params.py",)
STATS = ("tests/tuning/test_stats.py",)
GAME = ("tests/tuning/test_game.py",)
PROGRESS = ("tests/test_progress.py",)

MUTATIONS = (
    *in_file(
        "tuning/train.py",
        STEP,
        ("micro-batches-summed", "t + p / micro_batches", "t + p"),
        ("micro-batches-last-one", "t + p / micro_batches", "p"),
        (
            "micro-batches-share-a-key",
            "jax.random.split(key, micro_batches))",
            "jnp.stack([key] * micro_batches))",
        ),
        ("steps-share-a-key", "key = jax.random.fold_in(key, state.step)", "key = key"),
        ("step-counts-two", "step=state.step + 1, tr", "step=state.step + 2, tr"),
        (
            "parameters-without-average",
            "trained = state.trainable if state.ema is None else state.ema",
            "trained = state.trainable",
        ),
        ("gradient-norm-of-updates", '"grad_norm": grads,', '"grad_norm": updates,'),
        (
            "norms-of-updates-and-parameters-exchanged",
            '"update_norm": updates, "param_norm": trainable',
            '"param_norm": updates, "update_norm": trainable',
        ),
    ),
    *in_file(
        "tuning/train.py",
        AVERAGE,
        (
            "average-forgets",
            "incremental_update(trainable, ema, 1.0 - decay)",
            "incremental_update(trainable, ema, decay)",
        ),
        (
            "average-of-the-state-before",
            "averaged(state.ema, trainable,",
            "averaged(state.ema, state.trainable,",
        ),
        ("average-begins-at-full-decay", "jnp.minimum(most, ", "jnp.maximum(most, "),
    ),
    *in_file(
        "tuning/train.py",
        STATS,
        (
            "stats-stay",
            "_checked_stats(stats, aux.pop(STATS, stats))",
            "_checked_stats(stats, aux.pop(STATS, stats)) and stats",
        ),
        (
            "stats-of-the-first-part-of-a-batch",
            "part, stats = gradient(trainable, stats, others, *inputs)",
            "part, _ = gradient(trainable, stats, others, *inputs)",
        ),
        ("stats-are-trained-too", "params.split(rest, patterns)", "params.split(tree, patterns)"),
        ("stats-are-not-in-the-whole-tree", "(*parts, state.stats or {})]", "parts]"),
    ),
    *in_file(
        "tuning/tune.py",
        TUNE,
        (
            "losses-exchanged-in-the-log",
            '{f"evaluated_{k}": v for k, v in scores.items() if v is not None}',
            '{f"evaluated_{k}": v for k, v in zip(reversed(scores), scores.values())}',
        ),
        (
            "nothing-measured-is-logged",
            '{f"evaluated_{k}": v for k, v in scores.items() if v is not None}',
            '{f"evaluated_{k}": v for k, v in scores.items()}',
        ),
        ("best-is-the-largest", "loss >= self.scores", "loss <= self.scores"),
        ("best-by-another-loss", "loss = scores[self._name]", "loss = scores[next(iter(scores))]"),
        ("best-of-equals-is-the-last", "loss >= self.scores", "loss > self.scores"),
        (
            "best-is-not-the-average",
            "tree_to_host(train.changed(state), mesh)",
            "tree_to_host(train.changed(state.replace(ema=None)), mesh)",
        ),
        ("best-is-not-taken", "if kept is not None and kept.scores:", "if False:"),
        (
            "best-without-its-losses",
            "step, loss = kept.step, kept.scores",
            "step, loss = kept.step, score(state)",
        ),
        (
            "best-without-its-step",
            "step, loss = kept.step, kept.scores",
            "step, loss = step, kept.scores",
        ),
        (
            "best-of-later-steps-is-taken-up",
            'if header["step"] <= latest',
            'if header["step"] >= latest',
        ),
        ("best-is-not-taken-up", "kept.resume(resumed)", "kept.resume(-1)"),
        ("metrics-of-later-steps-stay", "metrics.resume(resumed)", "metrics.resume(10**9)"),
        ("resumed-is-not-told", "resumed=resumed,", "resumed=0,"),
        (
            "score-without-average",
            "        whole = train.parameters(state, frozen)\n",
            "        whole = params.merge(state.trainable, frozen)\n",
        ),
        (
            "kept-without-average",
            "    whole, step = train.parameters(state, frozen), int",
            "    whole, step = params.merge(state.trainable, frozen), int",
        ),
        (
            "trainable-is-the-frozen",
            "trainable=params.count(state.trainable)",
            "trainable=params.count(frozen)",
        ),
        ("frozen-is-all", "frozen=params.count(frozen)", "frozen=params.count(tree)"),
        ("steps-without-epochs", "steps_of(settings, examples.number)", "settings.steps"),
        (
            "learning-rate-of-other-steps",
            "make_optimizer(config.optimizer, steps)",
            "make_optimizer(config.optimizer, settings.steps)",
        ),
        ("average-not-asked-for", "tx, mesh, ema > 0, ", "tx, mesh, ema > 1, "),
        (
            "micro-batches-not-passed",
            '"micro_batches": settings.micro_batches',
            '"micro_batches": 1',
        ),
        ("decay-not-passed", '"ema_decay": ema}', '"ema_decay": 0.0}'),
        ("trains-the-prompt-alone", "*config.trainable)", '"prompt/.*")'),
        ("frozen-parts-are-trained", "pattern in examples.frozen)", "pattern in ())"),
        (
            "logs-as-often-as-it-evaluates",
            "log_every=settings.log_every",
            "log_every=settings.evaluate_every",
        ),
        (
            "evaluates-as-often-as-it-logs",
            'evaluate_every=settings.get("evaluate_every", 0)',
            "evaluate_every=settings.log_every",
        ),
        ("always-says-tune", "                what=examples.what,\n", ""),
        (
            "training-from-another-stream",
            'seed_of(config.seed, "train")',
            'seed_of(config.seed, "prompt")',
        ),
        ("training-not-of-the-seed", 'seed_of(config.seed, "train")', 'seed_of(0, "train")'),
        (
            "curves-by-row-and-not-by-step",
            '(row["step"], row[column]) for row in rows',
            "(i, row[column]) for i, row in enumerate(rows)",
        ),
        (
            "curves-of-batches-alone",
            '[*losses, *(f"evaluated_{name}" for name in examples.evaluations)]',
            "losses",
        ),
        ("last-is-the-first", "for row in rows for key", "for row in rows[::-1] for key"),
        ("learning-rate-of-the-next-step", "rate(step - 1)", "rate(step)"),
        (
            "shown-without-average",
            "examples.show(int(state.step), train.parameters(state, frozen))",
            "examples.show(int(state.step), params.merge(state.trainable, frozen))",
        ),
        (
            "shows-as-often-as-it-evaluates",
            'show_every=settings.get("show_every", 0)',
            'show_every=settings.get("evaluate_every", 0)',
        ),
        ("stats-of-examples-ignored", "tx, mesh, ema > 0, examples.stats", "tx, mesh, ema > 0, ()"),
    ),
    *in_file(
        "tuning/tune.py",
        EPOCHS,
        (
            "epochs-without-the-limit",
            "max(1, min(settings.steps, math.ceil(",
            "max(1, max(settings.steps, math.ceil(",
        ),
    ),
    *in_file(
        "streams.py",
        STREAMS,
        ("streams-not-of-the-seed", "return seed + STREAMS[stream]", "return STREAMS[stream]"),
        ("a-streams-number-changed", '"scratch": 4', '"scratch": 6'),
        (
            "streams-exchanged",
            ('"generate": 2,  # images of a tuned prompt and the untuned ones\n    "marquee": 3,'),
            ('"generate": 3,  # images of a tuned prompt and the untuned ones\n    "marquee": 2,'),
        ),
        ("unknown-streams-are-0", "STREAMS[stream]", "STREAMS.get(stream, 0)"),
    ),
    *in_file(
        "tuning/optimizers.py",
        OPTIMIZERS,
        ("backbone-rate-on-the-prompt", 're.compile("(?!prompt/).*")', 're.compile("prompt/.*")'),
        ("backbone-rate-on-all", 're.compile("(?!prompt/).*")', 're.compile(".*")'),
        (
            "backbone-ratio-inverted",
            "optax.scale(rate / highest)",
            "optax.scale(highest / rate)",
        ),
        ("moments-exchanged", "b1=config.b1,", "b1=config.b2,"),
        (
            "no-weight-decay",
            "return optax.add_decayed_weights(weight_decay)",
            "return optax.add_decayed_weights(0.0)",
        ),
        ("clip-ignored", "if config.clip <= 0 else", "if config.clip >= 0 else"),
        ("always-a-cosine", 'if schedule == "cosine":', "if schedule:"),
        ("warm-up-in-the-cosine", "steps - config.warmup_steps)", "steps)"),
        (
            "the-last-rate-wins",
            "found = (i for i, (pattern, _) in enumerate(rules) if",
            "found = (i for i, (pattern, _) in reversed(list(enumerate(rules))) if",
        ),
        (
            "backbone-rate-before-the-others",
            '_parse(config, "rates") + ([(BACKBONE, rate)] if rate else [])',
            '([(BACKBONE, rate)] if rate else []) + _parse(config, "rates")',
        ),
        (
            "rates-pass-slices-by",
            "        path = params.whole_path(path)\n        found",
            "        found",
        ),
        (
            "decays-are-rates",
            'decays = _parse(config, "decays")',
            'decays = _parse(config, "rates")',
        ),
        (
            "no-decay-where-no-pattern-matches",
            "_groups(decays, weight_decay)",
            "_groups(decays, None)",
        ),
        (
            "sgd-decay-after-momentum",
            "parts = [decay, optax.trace(config.momentum, config.nesterov), falling]",
            "parts = [optax.trace(config.momentum, config.nesterov), decay, falling]",
        ),
        (
            "nesterov-ignored",
            "optax.trace(config.momentum, config.nesterov)",
            "optax.trace(config.momentum)",
        ),
        ("adamw-and-sgd-exchanged", 'if name == "adamw":', 'if name == "sgd":'),
    ),
    *in_file(
        "params.py",
        PARAMS,
        (
            "a-pattern-matches-the-front-of-a-path",
            "compile_pattern(expression, key).fullmatch",
            "compile_pattern(expression, key).match",
        ),
        (
            "the-last-pattern-wins",
            "bool(rules) and rules[0].trains",
            "bool(rules) and rules[-1].trains",
        ),
        (
            "layers-counted-from-the-other-end",
            "rows = range(count)[self.layers]",
            "rows = range(count)[::-1][self.layers]",
        ),
        (
            "the-last-slice-wins",
            "trained = dict.fromkeys(rule.rows(path, count), rule.trains) | trained",
            "trained |= dict.fromkeys(rule.rows(path, count), rule.trains)",
        ),
        (
            "layers-that-no-slice-names-are-trained",
            "trained.get(row, False)",
            "trained.get(row, True)",
        ),
        (
            "slices-joined-backwards",
            "jnp.concatenate([leaf for _, _, leaf in parts])",
            "jnp.concatenate([leaf for _, _, leaf in reversed(parts)])",
        ),
        ("players-frozen-parts-are-kept-twice", "owners.get(whole_path(p), name) == name", "True"),
        ("a-bang-freezes-nothing", 'not pattern.startswith("!"), key)', "True, key)"),
    ),
    *in_file(
        "tuning/game.py",
        GAME,
        (
            "players-move-at-once",
            "for other, tree in trainable.items() if other",
            "for other, tree in state.trainable.items() if other",
        ),
        ("players-share-a-key", "jax.random.fold_in(key, number)", "key"),
        ("a-player-plays-every-step", "(since >= 0) & (since % player.every == 0)", "since >= 0"),
        ("a-player-starts-at-once", "since = step - player.starts_at", "since = step"),
        (
            "players-in-the-other-order",
            "enumerate(players.items())",
            "enumerate(reversed(players.items()))",
        ),
    ),
    *in_file(
        "progress.py",
        PROGRESS,
        (
            "pace-counts-the-first-step",
            "self._steps, self._began = -1, 0.0",
            "self._steps, self._began = 0, 0.0",
        ),
    ),
)
