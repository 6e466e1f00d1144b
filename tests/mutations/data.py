"""Wrong changes to images, parts, batches and codes."""

from tests.mutations.mutation import in_file

WIRING = ("tests/tasks/generation/test_wiring.py",)
BATCHES = ("tests/data/test_batches.py",)
PARTS = ("tests/data/test_loading.py",)
PIXELS = ("tests/data/test_pixels.py",)
AUGMENT = ("tests/data/test_augment.py",)

MUTATIONS = (
    *in_file(
        "tasks/generation/encoding.py",
        WIRING,
        (
            "views-of-held-out-images",
            "((plan.data.tune, views), (plan.data.test, PLAIN))",
            "((plan.data.tune, PLAIN), (plan.data.test, views))",
        ),
    ),
    *in_file(
        "tasks/generation/plan.py",
        WIRING,
        (
            "most-ignored-by-the-plan",
            "data.thinned(config.score.most, config.data.seed)",
            "data.thinned(0, config.data.seed)",
        ),
        (
            "workdir-bound-without-labels",
            "digest.update(data.labels(rows).tobytes())",
            "digest.update(b'')",
        ),
        (
            "workdir-bound-without-images",
            "hashlib.sha256(data.images.subset(rows).fingerprint.encode())",
            "hashlib.sha256(data.images.fingerprint.encode())",
        ),
        (
            "workdir-bound-parts-exchanged",
            '(("tuned on", data.tune), ("held out", data.test))',
            '(("tuned on", data.test), ("held out", data.tune))',
        ),
        (
            "workdir-bound-to-the-judge",
            '(("tuned on", data.tune), ("held out", data.test))',
            '(("tuned on", data.tune), ("held out", data.judge))',
        ),
    ),
    *in_file(
        "data/loading.py",
        WIRING,
        (
            "reference-thinned",
            "judge=thin(self.judge), test=thin(self.test))",
            "judge=thin(self.judge), test=thin(self.test), reference=thin(self.reference))",
        ),
    ),
    *in_file(
        "data/loading.py",
        PARTS,
        (
            "judge-and-test-exchanged",
            'cut["tune"], cut["judge"], cut["test"], cut["test"]',
            'cut["tune"], cut["test"], cut["judge"], cut["judge"]',
        ),
        ("shots-of-another-seed", "config.shots, config.seed, found", "config.shots, 0, found"),
        ("shots-of-all-images", "tune=found.tune[chosen]", "tune=chosen"),
        ("thinned-judge-is-test", "judge=thin(self.judge), test", "judge=thin(self.test), test"),
        (
            "fit-not-of-the-config",
            "size, config.fit, full_scale=config.full_scale",
            "size, full_scale=config.full_scale",
        ),
    ),
    *in_file(
        "data/batches.py",
        BATCHES,
        ("batch-not-of-the-step", "start = step * batch_size", "start = 0"),
        ("epochs-in-one-order", "(STREAM_EPOCH, epoch)", "(STREAM_EPOCH, 0)"),
        ("batch-not-of-the-seed", "_permutation(seed, epoch, n)[", "_permutation(0, epoch, n)["),
        (
            "one-view-for-a-batch",
            "integers(num_views, size=batch_size)",
            "integers(num_views, size=1).repeat(batch_size)",
        ),
        ("views-of-step-0", "(STREAM_VIEW, step)", "(STREAM_VIEW, 0)"),
    ),
    *in_file(
        "data/splits.py",
        BATCHES,
        ("few-shot-takes-all", "chosen.append(members[:shots])", "chosen.append(members)"),
        (
            "few-shot-not-of-the-seed",
            "_members(labels, batches.STREAM_SHOTS, seed)",
            "_members(labels, batches.STREAM_SHOTS, 0)",
        ),
        (
            "few-shot-in-all-and-not-a-class",
            "np.sort(np.concatenate(chosen)) if chosen",
            "np.sort(np.concatenate(chosen))[:shots] if chosen",
        ),
        ("shares-round-the-smallest-up", "np.argsort(-np.round(", "np.argsort(np.round("),
        ("thin-ignores-the-least", "max(least, round(share", "max(0, round(share"),
    ),
    *in_file(
        "data/splits.py",
        PARTS,
        (
            "parts-in-the-other-order",
            "zip(fractions, np.split(members, ends)",
            "zip(reversed(fractions), np.split(members, ends)",
        ),
    ),
    *in_file(
        "data/pixels.py",
        PIXELS,
        ("fit-ignored", 'if self.fit == "crop":', "if True:"),
        (
            "crop-of-the-corner",
            "left, top = (image.width - side) // 2, (image.height - side) // 2",
            "left, top = 0, 0",
        ),
        (
            "recipe-without-fit",
            "on white, {FITS[self.fit]}, {self.resample}",
            "on white, centre crop, {self.resample}",
        ),
        ("gain-after-the-resize", "image.point(lambda value: value * self.gain)", "image"),
    ),
    *in_file(
        "data/augment.py",
        AUGMENT,
        (
            "views-share-a-key-whatever-they-are",
            "return [self.count, repr(self.view_fn), self.seed] if",
            "return [self.count] if",
        ),
        ("views-not-mirrored", "if self.flip and rng.integers(2):", "if False:"),
    ),
)
