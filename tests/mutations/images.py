"""Wrong changes to which images are made, from what, and how they are shown."""

from tests.mutations.mutation import in_file

IMAGES = ("tests/tasks/generation/test_images.py",)
WIRING = ("tests/tasks/generation/test_wiring.py",)
PROMPT_TUNING = ("tests/tasks/generation/test_prompt_tuning.py",)
STREAMS = ("tests/test_streams.py",)
DRAWN = ("tests/report/test_drawn.py",)
MAIN_JOB = ("tests/jobs/test_main_job.py",)
ANALYSIS = ("tests/tasks/generation/test_prompt_analysis.py",)
WATCHING = ("tests/tasks/generation/test_watching.py",)

MUTATIONS = (
    *in_file(
        "tasks/generation/images.py",
        IMAGES,
        ("per-class-ignored", "np.full(classes, config.score.per_class)", "np.full(classes, 40)"),
        (
            "law-ignored",
            "law.sum()), law / max(1, law.sum()))",
            "law.sum()), np.full(classes, 1 / classes))",
        ),
        (
            "law-of-the-tuned-part",
            "np.bincount(data.labels(data.reference), minlength=classes)",
            "np.bincount(data.labels(data.tune), minlength=classes)",
        ),
        (
            "more-images-than-the-reference",
            "min(config.score.images, law.sum())",
            "config.score.images",
        ),
        (
            "classes-without-tuned-images-drawn",
            "counts[np.bincount(data.labels(data.tune), minlength=classes) == 0] = 0",
            "counts[:0] = 0",
        ),
        (
            "untuned-images-of-one-class",
            "integers(sampler.classes, size=count)",
            "integers(1, size=count)",
        ),
        (
            "untuned-of-one-drawn-class",
            "integers(sampler.classes, size=count)",
            "integers(sampler.classes, size=1).repeat(count)",
        ),
        (
            "untuned-without-the-seed",
            'np.random.default_rng(streams.seed_of(config.seed, "classes"))',
            "np.random.default_rng(0)",
        ),
        (
            "untuned-of-class-zero-where-there-are-none",
            "own = np.full(count, NONE)",
            "own = np.full(count, 0)",
        ),
        (
            "marquee-header-exchanged",
            "stack([of_instance, of_class])",
            "stack([of_class, of_instance])",
        ),
        (
            "marquee-ids-exchanged",
            "prompts(classes, instances)[owner]",
            "prompts(instances, classes)[owner]",
        ),
        (
            "marquee-begins-with-the-class",
            "prompts(classes, instances)[owner]",
            "prompts(classes)[owner]",
        ),
        ("marquee-last-instance", "np.argmax(labels == c)", "np.argmin(labels == c)"),
        (
            "marquee-originals-of-other-rows",
            "stored.plain(data.tune[instances])",
            "stored.plain(data.test[instances])",
        ),
        ("marquee-cutoff-zero-of-the-instance", "stack([of_class])", "stack([of_instance])"),
        ("marquee-cutoff-ignored", "cutoff=cutoff or 1.0", "cutoff=1.0"),
        (
            "marquee-other-noise-at-each-cutoff",
            'streams.seed_of(config.seed, "marquee"), plan.mesh',
            'streams.seed_of(config.seed, "marquee") + len(rows), plan.mesh',
        ),
        ("marquee-unguided", "            uncond=tuned.uncond,\n", ""),
        (
            "marquee-diversity-is-distance",
            '"diversity": spread,\n                "distance_to_instance": nearness,',
            '"diversity": nearness,\n                "distance_to_instance": spread,',
        ),
        ("marquee-judged-by-place", "scorer.accuracy(made, drawn)", "scorer.accuracy(made, owner)"),
        (
            "marquee-judged-by-reversed-labels",
            "scorer.accuracy(made, drawn)",
            "scorer.accuracy(made, drawn[::-1])",
        ),
        (
            "marquee-originals-judged",
            "distance_to_by_class(made, owner, originals,",
            "distance_to_by_class(made, owner, originals[::-1],",
        ),
        (
            "marquee-strip-of-the-first-class",
            "columns.append(made[::num])",
            "columns.append(made[: len(classes)])",
        ),
    ),
    *in_file(
        "tasks/generation/images.py",
        STREAMS,
        (
            "untuned-from-another-stream",
            'seed_of(config.seed, "generate")',
            'seed_of(config.seed, "more")',
        ),
        (
            "untuned-classes-from-another-stream",
            'seed_of(config.seed, "classes")',
            'seed_of(config.seed, "train")',
        ),
        (
            "marquee-from-another-stream",
            'seed_of(config.seed, "marquee")',
            'seed_of(config.seed, "generate")',
        ),
    ),
    *in_file(
        "tasks/generation/images.py",
        MAIN_JOB,
        (
            "job-marquee-instances-are-rows",
            "prompts(classes, instances)[owner]",
            "prompts(classes, data.tune[instances])[owner]",
        ),
    ),
    *in_file(
        "tasks/generation/transfer.py",
        WIRING,
        (
            "tuned-and-untuned-scores-exchanged",
            '{"prompt": scorer(generated, classes), "untuned": scorer(untuned, classes)}',
            '{"prompt": scorer(untuned, classes), "untuned": scorer(generated, classes)}',
        ),
        (
            "untuned-images-scored-as-tuned",
            '"prompt": scorer(generated, classes)',
            '"prompt": scorer(untuned, classes)',
        ),
        (
            "tuned-images-scored-as-untuned",
            '"untuned": scorer(untuned, classes)',
            '"untuned": scorer(generated, classes)',
        ),
        (
            "generated-scored-by-reversed-classes",
            "scorer(generated, classes)",
            "scorer(generated, classes[::-1])",
        ),
        (
            "pictures-of-tuned-and-untuned-exchanged",
            "pictures.Made(generated, classes, untuned, strip, copies",
            "pictures.Made(untuned, classes, generated, strip, copies",
        ),
        (
            "samples-of-the-untuned-transformer",
            "TunedSampler.of(plan, tuned.transformer,",
            "TunedSampler.of(plan, None,",
        ),
        (
            "prompts-of-other-classes",
            "of_classes(plan, classes)",
            "of_classes(plan, classes[::-1])",
        ),
        (
            "untuned-of-another-count-reused",
            "if untuned is None or len(untuned) != len(classes):",
            "if untuned is None:",
        ),
        (
            "untuned-always-made-again",
            "if untuned is None or len(untuned) != len(classes):",
            "if True:",
        ),
        ("tuned-images-handed-on", "    return untuned\n", "    return generated\n"),
        (
            "speed-of-the-marquee",
            "seconds_per_image=per_image",
            "seconds_per_image=sampler.seconds_per_image",
        ),
        ("seconds-of-tuning-lost", "if tuned.run.resumed == tuned.run.steps and", "if False and"),
    ),
    *in_file(
        "tasks/generation/images.py",
        STREAMS,
        (
            "generated-from-another-stream",
            'seed_of(plan.config.seed, "generate")',
            'seed_of(plan.config.seed, "more")',
        ),
        (
            "generated-not-of-the-seed",
            'seed_of(plan.config.seed, "generate")',
            'seed_of(0, "generate")',
        ),
    ),
    *in_file(
        "tasks/generation/transfer.py",
        MAIN_JOB,
        ("job-seconds-under-another-stage", 'with clock("untuned"):', 'with clock("sample"):'),
        (
            "job-seconds-of-tuning-from-another-stage",
            'earlier.seconds["tune"]',
            'earlier.seconds["encode"]',
        ),
        (
            "job-seconds-of-tuning-of-a-partial-start",
            "if tuned.run.resumed == tuned.run.steps and",
            "if tuned.run.resumed and",
        ),
    ),
    *in_file(
        "tasks/generation/pictures.py",
        PROMPT_TUNING,
        (
            "curves-exchanged",
            '"evaluated_train": "training images",\n    "evaluated_heldout": "held-out images",',
            '"evaluated_heldout": "training images",\n    "evaluated_train": "held-out images",',
        ),
        (
            "curves-of-batches-and-images-exchanged",
            '"loss": "training batches",\n    "evaluated_train": "training images",',
            '"evaluated_train": "training batches",\n    "loss": "training images",',
        ),
    ),
    *in_file(
        "tasks/generation/pictures.py",
        DRAWN,
        (
            "pictures-real-are-reconstructed",
            '"real": sheet(data.images.read(rows), shown, names)',
            '"real": sheet(scorer.reconstruct(rows), shown, names)',
        ),
        (
            "pictures-reconstructed-are-real",
            '"reconstructed": sheet(scorer.reconstruct(rows), shown, names)',
            '"reconstructed": sheet(data.images.read(rows), shown, names)',
        ),
        ("pictures-untuned-are-generated", "_rows(made.untuned, 4)", "_rows(generated, 4)"),
        (
            "pictures-tuned-are-untuned",
            '"prompt": sheet(generated, classes, names)',
            '"prompt": sheet(made.untuned, classes, names)',
        ),
        ("pictures-glance-is-untuned", "_rows(generated[evenly", "_rows(made.untuned[evenly"),
        (
            "pictures-real-of-held-out-images",
            "rows = data.tune[np.concatenate(rows)]",
            "rows = np.concatenate(rows)",
        ),
        (
            "pictures-class-names-reversed",
            "row_labels=[names[c] for c in classes], present",
            "row_labels=[names[c] for c in classes[::-1]], present",
        ),
        (
            "pictures-marquee-columns-exchanged",
            'col_labels=["instance", "class", ',
            'col_labels=["class", "instance", ',
        ),
        (
            "pictures-marquee-names-reversed",
            "row_labels=[names[c] for c in shown_classes(labels)]",
            "row_labels=[names[c] for c in shown_classes(labels)[::-1]]",
        ),
    ),
    *in_file(
        "tasks/generation/watching.py",
        WATCHING,
        ("watched-images-of-the-backbone", '(plan, tree["transformer"],', "(plan, None,"),
        (
            "watched-under-other-classes-prompts",
            "of_classes(plan, classes,",
            "of_classes(plan, classes[::-1],",
        ),
        ("watched-steps-that-are-taken-again", "if made <= step}", "if True}"),
    ),
    *in_file(
        "tasks/generation/prompt_analysis.py",
        ANALYSIS,
        (
            "images-compared-with-their-class",
            "np.full(len(shown), NONE), shown",
            "labels[shown], shown",
        ),
        ("rows-and-tokens-exchanged", ".mean(2).swapaxes(1, 2)", ".mean(1).swapaxes(1, 2)"),
        ("attention-of-the-front", "found[:, -side * side :, ", "found[:, : side * side, "),
        (
            "images-of-first-classes-alone",
            "np.linspace(0, len(numbers) - 1, most)",
            "np.arange(most)",
        ),
        ("distance-over-all-pairs", "(count * (count - 1))", "(count * count)"),
    ),
    *in_file(
        "metrics/prompt_space.py",
        ("tests/metrics/test_prompt_space.py",),
        ("sums-of-squares", " / prompts.shape[1])", ")"),
        ("nearest-to-itself", "np.full(len(apart), np.inf)", "np.zeros(len(apart))"),
        ("chance-with-itself", "(counts * (counts - 1)).sum()", "(counts * counts).sum()"),
    ),
    *in_file(
        "models/attention.py",
        ("tests/models/test_attention.py",),
        ("looking-without-the-scale", "logits / q.shape[-1] ** 0.5", "logits"),
        ("looking-at-what-is-hidden", "jnp.where(mask, logits, -jnp.inf)", "logits"),
    ),
    *in_file(
        "models/causal.py",
        ("tests/models/test_attention.py",),
        ("looked-at-before-the-norm", "weights(block.attention_norm(x), mask", "weights(x, mask"),
    ),
)
