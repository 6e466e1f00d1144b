"""Wrong changes to images, parts, batches and codes."""

from tests.mutations.mutation import in_file

WIRING = ("tests/tasks/generation/test_wiring.py",)
BATCHES = ("tests/data/test_batches.py",)
PARTS = ("tests/data/test_loading.py",)
PIXELS = ("tests/data/test_pixels.py",)
DEPTH = ("tests/data/test_depth.py",)
COPIES = ("tests/data/sets/test_copies.py",)
LAYOUTS = ("tests/data/sets/test_layouts.py",)
TABLES = ("tests/data/sets/test_table.py",)
OTHERS_TABLES = ("tests/data/sets/test_others_tables.py",)
EXPOSURE = ("tests/data/sets/test_exposure.py",)
PLACES = ("tests/data/sets/test_places.py",)
AUGMENT = ("tests/data/test_augment.py",)
KEPT = ("tests/data/test_kept.py",)
AHEAD = ("tests/data/test_ahead.py",)

MUTATIONS = (
    *in_file(
        "data/kept.py",
        KEPT,
        ("an-array-for-each-thread", "with self._allocating:", "if True:"),
        ("rows-are-made-again", "self._there[new] = True", "pass"),
        ("rows-are-never-kept", "<= MOST_BYTES", "< 0"),
        ("rows-are-always-kept", "<= MOST_BYTES", "> 0"),
    ),
    *in_file(
        "data/ahead.py",
        AHEAD,
        ("batch-of-the-next-step", "self._make, ahead)", "self._make, ahead + 1)"),
        ("no-batch-is-made-ahead", "end = step + AHEAD", "end = step + 1"),
        ("batches-beyond-the-run", "min(end, self._steps)", "end"),
    ),
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
            "workdir-bound-parts-exchanged",
            '{"tuned on": plan.data.tune, "held out": plan.data.test}',
            '{"tuned on": plan.data.test, "held out": plan.data.tune}',
        ),
        (
            "workdir-bound-to-the-judge",
            '{"tuned on": plan.data.tune, "held out": plan.data.test}',
            '{"tuned on": plan.data.tune, "held out": plan.data.judge}',
        ),
    ),
    *in_file(
        "data/loading.py",
        WIRING,
        (
            "workdir-bound-without-labels",
            "found.update(self.labels(rows).tobytes())",
            "found.update(b'')",
        ),
        (
            "workdir-bound-without-images",
            "hashlib.sha256(self.images.subset(rows).fingerprint.encode())",
            "hashlib.sha256(self.images.fingerprint.encode())",
        ),
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
            "size,\n        config.fit,",
            "size,",
        ),
    ),
    *in_file(
        "data/batches.py",
        BATCHES,
        ("batch-not-of-the-step", "visits(seed, step * batch_size, n", "visits(seed, 0, n"),
        ("epochs-in-one-order", "(STREAM_EPOCH, epoch, walk)", "(STREAM_EPOCH, 0, walk)"),
        (
            "batch-not-of-the-seed",
            "_permutation(seed, epoch, walk, n)[",
            "_permutation(0, epoch, walk, n)[",
        ),
        ("one-walk-for-all-sets", "(STREAM_EPOCH, epoch, walk)", "(STREAM_EPOCH, epoch, 0)"),
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
        "data/splits.py",
        PARTS,
        (
            "copies-on-both-sides-of-a-cut",
            "np.flatnonzero(np.isin(copies, copies[rows]))",
            "np.sort(rows)",
        ),
        (
            "copies-drawn-each-for-itself",
            "_members(labels, batches.STREAM_SPLIT, seed, first)",
            "_members(labels, batches.STREAM_SPLIT, seed)",
        ),
    ),
    *in_file(
        "data/loading.py",
        PARTS,
        (
            "judge-of-one-class",
            "if len(found.images.classes) == 1:",
            "if not found.images.classes:",
        ),
        (
            "share-of-the-judge-is-held-out",
            "tune = np.sort(np.concatenate([self.tune, self.judge]))",
            "tune = self.tune",
        ),
    ),
    *in_file(
        "data/depth.py",
        DEPTH,
        ("scale-of-the-brightest-image", "* scale) > 0.5", "* scale) == 1.0"),
        ("scale-of-the-highlights", "np.partition(finite, last)[last]", "finite.max()"),
        ("twelve-bits-are-sixteen", "2 ** (bits - signed) - 1", "2 ** (16 - signed) - 1"),
        ("signed-is-unsigned", "2 ** (bits - signed) - 1", "2**bits - 1"),
    ),
    *in_file(
        "data/sets/folder.py",
        DEPTH,
        (
            "a-scale-for-each-image",
            "depth.found_scale(unstated) if len(unstated) else 0.0",
            "0.0",
        ),
    ),
    *in_file(
        "data/sets/exposure.py",
        DEPTH,
        (
            "black-by-its-own-scale",
            'dark[unstated] = rows["range"][unstated, 0] / scale * 255 < depth.DARK',
            "pass",
        ),
    ),
    *in_file(
        "data/sets/exposure.py",
        EXPOSURE,
        (
            "white-by-its-own-scale",
            'bright[unstated] = rows["low"][unstated] / scale * 255 > 255 - depth.DARK',
            "pass",
        ),
        ("full-scale-ignored-in-silence", "if not full_scale or", "if True or"),
    ),
    *in_file(
        "data/pixels.py",
        EXPOSURE,
        (
            "full-scale-of-what-is-rescaled",
            "scalable = deep and not depth.is_rescaled(image)",
            "scalable = deep",
        ),
        ("halved-once-it-is-loaded", "halved = depth.is_halved(image)", "halved = False"),
    ),
    *in_file(
        "data/depth.py",
        EXPOSURE,
        ("darkest-is-the-lowest", "np.partition(finite, first)[first]", "finite.min()"),
    ),
    *in_file(
        "data/sets/folder.py",
        COPIES,
        ("the-longest-name-of-copies", "key=lambda row: (len(", "key=lambda row: (-len("),
        ("copies-of-any-class", 'labels.astype("<i4")[', '(0 * labels).astype("<i4")['),
    ),
    *in_file(
        "data/sets/labelling.py",
        LAYOUTS,
        (
            "names-as-they-are-stored",
            "groups.setdefault(legible(folder)",
            "groups.setdefault(folder",
        ),
        (
            "single-folders-are-classes",
            "if not csv and _descend(place, classes):",
            "if False:",
        ),
        (
            "chosen-single-folders-are-left",
            " or legible(folders[0]) in map(legible, classes)",
            "",
        ),
    ),
    *in_file(
        "data/depth.py",
        DEPTH,
        ("values-below-0-in-silence", "if below:", "if False:"),
        ("images-without-a-value-are-black", "if not finite:", "if False:"),
    ),
    *in_file(
        "data/sets/folder.py",
        COPIES,
        (
            "copies-of-one-class-as-of-several",
            "if len(set(labels[same].tolist())) > 1",
            "if len(same) > 1",
        ),
    ),
    *in_file(
        "data/sets/places.py",
        PLACES,
        ("full-paths-in-archives", "            folder = below\n", ""),
    ),
    *in_file(
        "data/sets/labelling.py",
        OTHERS_TABLES,
        ("tables-in-archives-as-paths", "if not os.path.isfile(path):", "if False:"),
    ),
    *in_file(
        "data/sets/table.py",
        OTHERS_TABLES,
        ("ends-of-relative-paths", "and relative != cell and", "and"),
        (
            "absolute-paths-by-their-last-name",
            'relative.partition("/")',
            'relative.rpartition("/")',
        ),
    ),
    *in_file(
        "data/sets/labelling.py",
        LAYOUTS,
        (
            "folds-are-classes-in-silence",
            "if is_part(folder) or is_fold(folder)]",
            "if is_part(folder)]",
        ),
    ),
    *in_file(
        "counts.py",
        ("tests/test_counts.py",),
        ("one-images", "{'' if number == 1 else ending}", "{ending}"),
    ),
    *in_file(
        "data/sets/zip_names.py",
        PLACES,
        ("backslashes-beside-slashes", "everywhere = not any(", "everywhere = True or any("),
    ),
    *in_file(
        "data/sets/places.py",
        PLACES,
        ("files-replaced-in-silence", "self.left_out[name] = REPLACED", "pass"),
    ),
    *in_file(
        "data/sets/table.py",
        TABLES,
        ("table-by-exact-names-alone", 'len(_FORMS) if "/" not in cell', '1 if "/" not in cell'),
        ("numbers-of-classes-before-names", "words[i] == headings[0]", "words[i] == headings[-1]"),
    ),
    *in_file(
        "data/pixels.py",
        PIXELS,
        (
            "padded-with-black",
            "tuple(np.atleast_1d(colour).tolist())",
            "tuple(0 * np.atleast_1d(colour))",
        ),
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
