"""Wrong changes to classifiers: networks, what is tuned, how it is judged and chosen."""

from tests.mutations.mutation import in_file

VIT = ("tests/models/test_vit.py",)
SWIN = ("tests/models/test_swin.py",)
CONVOLUTIONAL = ("tests/models/test_convolutional_encoders.py",)
PROMPT = ("tests/models/test_prompt.py",)
TRAINING = ("tests/tasks/classification/test_training_golden.py",)
METHODS = ("tests/tasks/classification/test_methods.py",)
SWEEP = ("tests/tasks/classification/test_sweep.py",)
TOGETHER = ("tests/tuning/test_together.py",)
JUDGE = ("tests/metrics/test_classification.py",)
ATTACKS = ("tests/tasks/test_attacks.py",)
TUNING = ("tests/tasks/classification/test_tuning.py",)
ENCODERS = ("tests/importers/test_encoders.py",)

MUTATIONS = (
    *in_file(
        "models/swin.py",
        SWIN,
        ("swin-shift-is-not-undone", "(shift, shift), axis", "(-shift, -shift), axis"),
        ("swin-copies-are-summed", ".mean(axis=1), join", ".sum(axis=1), join"),
        ("swin-merge-columns-first", "(0, 1, 3, 4, 2, 5)", "(0, 1, 3, 2, 4, 5)"),
        (
            "swin-first-block-is-shifted",
            "run(run(x, first, False), second, True)",
            "run(run(x, first, True), second, False)",
        ),
    ),
    *in_file(
        "models/vit.py",
        VIT,
        (
            "vit-prompt-before-the-class-token",
            "[x[:, :1], tokens.astype(x.dtype), x[:, 1:]]",
            "[tokens.astype(x.dtype), x]",
        ),
        ("vit-pools-the-class-with-all", '"all": (1, None)', '"all": (0, None)'),
        (
            "frame-leaves-positions-as-they-are",
            "positions = resize_positions(positions, grid)",
            "positions = jnp.resize(positions, (1 + grid**2, self.cfg.width))",
        ),
        (
            "frame-counts-as-prompt-tokens",
            "self._grid_of(prompt.frame) ** 2 if larger",
            "cfg.length if larger",
        ),
    ),
    *in_file(
        "models/convnext.py",
        CONVOLUTIONAL,
        ("convnext-without-scales", "x + self.scales.astype(x.dtype) * y", "x + y"),
        (
            "convnext-norm-before-the-mean",
            "self.norm(x.mean(axis=(1, 2)))",
            "self.norm(x).mean((1, 2))",
        ),
    ),
    *in_file(
        "models/resnet.py",
        CONVOLUTIONAL,
        (
            "encoder-takes-the-largest",
            "super().__call__(x, pin).mean(",
            "super().__call__(x, pin).max(",
        ),
    ),
    *in_file(
        "importers/convnext.py",
        CONVOLUTIONAL,
        (
            "convnext-merges-are-of-their-stage",
            "merge + step * stage",
            "merge + step * (stages - 2 - stage)",
        ),
    ),
    *in_file(
        "models/pixel_prompt.py",
        VIT,
        ("frame-covers-the-image", "[:, inside, inside].set(images)", "[:, inside, inside].add(0)"),
        ("frame-left-is-right", "[left, middle, right], axis=1", "[right, middle, left], axis=1"),
        ("frame-top-is-bottom", "[top, rows, bottom]", "[bottom, rows, top]"),
        (
            "channels-reach-the-class-token",
            "[jnp.zeros((1, cfg.width)), x])[None]",
            "[x[:1], x])[None]",
        ),
    ),
    *in_file(
        "models/prompt.py",
        PROMPT,
        (
            "prompt-uniform-is-half",
            '"minval": -self.cfg.uniform',
            '"minval": 0.5 * -self.cfg.uniform',
        ),
        ("prompt-stages-share-a-width", "cfg.width * 2**stage", "cfg.width"),
    ),
    *in_file(
        "tuning/optimizers.py",
        TRAINING,
        ("rate-is-never-held", "step // hold * hold", "step"),
        (
            "adamw-vpt-corrects-its-eps",
            "scale * m / (jnp.sqrt(v) + eps)",
            "scale * m / (jnp.sqrt(v) + eps * scale)",
        ),
    ),
    *in_file(
        "tasks/classification/model.py",
        TRAINING,
        ("class-weights-are-left-out", "class_weights[labels] * losses", "losses"),
    ),
    *in_file(
        "models/head.py",
        VIT,
        ("head-averages-the-biased-variance", "max(1, len(x) - 1)", "len(x)"),
        ("head-averages-never-move", "MOMENTUM = 0.1", "MOMENTUM = 0.0"),
    ),
    *in_file(
        "tuning/methods.py",
        METHODS,
        ("last-blocks-are-the-first", "blocks/.*[-{taken}:]", "blocks/.*[:{taken}]"),
        (
            "bias-trains-scales",
            '"encoder/.*bias", "head/.*"), "biases"',
            '"encoder/.*scale", "head/.*"), "biases"',
        ),
        ("averages-decay", 'patterns = (f"!encoder/{STATS}", *patterns)', "pass"),
        (
            "class-token-stays-where-it-was",
            '"class token from near zero", restarts=(_CLS,)',
            '"class token from near zero"',
        ),
    ),
    *in_file(
        "tuning/lora.py",
        METHODS,
        ("lora-is-not-scaled", "(cfg.alpha / cfg.rank)", "cfg.alpha"),
    ),
    *in_file(
        "tuning/together.py",
        TOGETHER,
        (
            "what-begins-otherwise-is-common",
            "trees = [params.unflatten(whole | params.flatten(tree)) for tree in around]",
            "trees = [params.unflatten(params.flatten(tree) | whole) for tree in around]",
        ),
        ("runs-share-a-seed", '[run["seed"]]', "[0]"),
        (
            "runs-share-a-decay",
            'run["learning_rate"], run["weight_decay"]',
            'run["learning_rate"], 0.0',
        ),
    ),
    *in_file(
        "tasks/classification/sweep.py",
        SWEEP,
        ("added-vectors-have-lengths", " and config.prompt.location not in ADDED", ""),
        ("the-worst-row-is-chosen", '(-r["accuracy"],', '(r["accuracy"],'),
        ("rates-are-not-scaled", "batch_size / 256 if", "batch_size / 512 if"),
    ),
    *in_file(
        "metrics/classification.py",
        JUDGE,
        ("confusion-is-transposed", "(labels, answers), 1)", "(answers, labels), 1)"),
        (
            "least-sure-wrong-answers-first",
            "np.argsort(-confidence[wrong]",
            "np.argsort(confidence[wrong]",
        ),
        (
            "by-class-is-by-answer",
            "of_class, right = confusion.sum(1)",
            "of_class, right = confusion.sum(0)",
        ),
    ),
    *in_file(
        "tasks/attacks.py",
        ATTACKS,
        ("fgsm-goes-down", "images + epsilon * jnp.sign", "images - epsilon * jnp.sign"),
        ("pgd-leaves-the-ball", "jnp.clip(moved, least, most)", "jnp.clip(moved, 0.0, 1.0)"),
    ),
    *in_file(
        "tasks/classification/tuning.py",
        METHODS,
        ("class-token-begins-large", "RESTARTED = 1e-6", "RESTARTED = 1e-3"),
        ("class-tokens-share-a-seed", "jax.random.fold_in(key, 100 + i)", "jax.random.key(i)"),
    ),
    *in_file(
        "tasks/classification/tuning.py",
        TUNING,
        (
            "heldout-is-validation",
            '"validation": data.judge}',
            '"validation": data.test}',
        ),
    ),
    *in_file(
        "tasks/classification/transfer.py",
        ("tests/jobs/test_classify.py::test_a_run_leaves_what_it_found",),
        (
            "features-beside-other-classes",
            "in zip(rows, data.labels(rows), places",
            "in zip(rows, data.labels(rows[::-1]), places",
        ),
    ),
    *in_file(
        "report/classes.py",
        ("tests/report/test_classes.py",),
        ("dots-of-other-classes", "& (labels == label)", "& (labels != label)"),
        ("answers-below-classes", "column, row, f", "row, column, f"),
    ),
    *in_file(
        "importers/swin.py",
        ENCODERS,
        ("merges-are-never-behind", "stage + merged_behind", "stage"),
    ),
)
