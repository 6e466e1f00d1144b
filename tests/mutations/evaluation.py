"""Wrong changes to the comparison of two sets of images, and to the network of FID."""

from tests.mutations.mutation import in_file

FEATURES = ("tests/metrics/test_features.py",)
SCORE = ("tests/metrics/test_inception_score.py",)
SLICED = ("tests/metrics/test_sliced.py",)
COMPARED = ("tests/metrics/test_compared.py",)
RESIZING = ("tests/models/test_resizing.py",)
INCEPTION = ("tests/models/test_inception.py",)
FILES = ("tests/importers/test_inception.py",)
STATISTICS = ("tests/tasks/evaluation/test_statistics_files.py",)
JOB = ("tests/jobs/test_evaluate.py",)

MUTATIONS = (
    *in_file(
        "metrics/frechet.py",
        FEATURES,
        ("rows-divided-by-n", "(features - mean).T / np.sqrt(len(features) - 1)",
         "(features - mean).T / np.sqrt(len(features))"),
        ("root-of-the-other-twice", "self.root.T @ other.root", "other.root.T @ other.root"),
        ("traces-of-one", "np.sum(self.root**2) + np.trace(cov)", "2 * np.trace(cov)"),
        ("infinity-over-n", "np.polyfit(1 / sizes, found, 1)[1]",
         "np.polyfit(sizes, found, 1)[1]"),
        ("infinity-is-the-slope", "np.polyfit(1 / sizes, found, 1)[1]",
         "np.polyfit(1 / sizes, found, 1)[0]"),
        ("infinity-of-few-images", "if count <= dims:", "if count <= dims - 9:"),
        ("directions-of-least-spread", "(max(0, size - MOST_DIMS), size - 1)",
         "(0, min(size, MOST_DIMS) - 1)"),
    ),
    *in_file(
        "metrics/precision_recall.py",
        FEATURES,
        ("realism-not-squared", "reach = radii(real, k) ** 2  # [n]\n    best",
         "reach = radii(real, k)  # [n]\n    best"),
        ("realism-in-the-last-block", "np.maximum(best[columns], inside.max(axis=0))",
         "inside.max(axis=0)"),
    ),
    *in_file(
        "metrics/inception_score.py",
        SCORE,
        ("score-of-rows-in-order", "if seed is not None:", "if False:"),
        ("score-of-summed-shares", "np.log(np.maximum(shares.mean(axis=0)",
         "np.log(np.maximum(shares.sum(axis=0)"),
        ("score-with-sample-deviation", "float(np.std(scores))", "float(np.std(scores, ddof=1))"),
    ),
    *in_file(
        "metrics/sliced.py",
        SLICED,
        ("sliced-without-the-scale", "SCALE * real.shape[1] * total", "real.shape[1] * total"),
        ("sliced-without-ranks", "np.sort(some @ generated.T)", "(some @ generated.T)"),
        ("sliced-along-any-length", "yield some / np.linalg.norm(some, axis=1, keepdims=True)",
         "yield some"),
    ),
    *in_file(
        "metrics/compared.py",
        COMPARED,
        ("every-distance-is-fid", '"fid" if inception else "frechet"', '"fid"'),
        ("score-of-real-images", "logits, splits = self._generated.logits,",
         "logits, splits = self._real.seen.logits,"),
        ("sfid-in-plain-features", "real.spatial_distance(seen.spatial)",
         "real.normal.distance(seen.features)"),
        ("kid-of-generated-first", "kid.kid(real, generated, chosen",
         "kid.kid(generated, real, chosen"),
        ("precision-turned", "values, known = neighbours(real, generated, k)",
         "values, known = neighbours(generated, real, k)"),
        ("few-images-are-enough", "if count < SMALL}", "if count < SMALL - 1}"),
        ("black-images-are-compared", "<= SAME * np.abs", "< 0 * np.abs"),
        ("most-of-none", "-(-len(features) // most)", "(len(features) // most)"),
    ),
    *in_file(
        "models/resizing.py",
        RESIZING,
        ("half-pixels-aligned-at-corners", "* np.float32(size / side) - half, 0)",
         "* np.float32(size / side), 0)"),
        ("bicubic-without-antialiasing", "wide = max(step, 1.0)", "wide = 1.0"),
        ("clean-not-clipped", 'Convention(bicubic, 128.0, 128.0, True',
         'Convention(bicubic, 128.0, 128.0, False'),
        ("rows-for-columns", "down, across = (", "across, down = ("),
    ),
    *in_file(
        "models/inception.py",
        INCEPTION,
        ("padding-counted", "count_include_pad=False", "count_include_pad=True"),
        ("last-pool-averaged", '"7c": _e(MAX)', '"7c": _e(AVERAGE)'),
        ("epsilon-of-torchvision", "EPSILON = 1e-3", "EPSILON = 1e-5"),
        ("spatial-of-another-block", 'if name == "6d":', 'if name == "6c":'),
        ("logits-always-biased", "        if bias:\n", "        if True:\n"),
    ),
    *in_file(
        "importers/inception.py",
        FILES,
        ("torchvisions-inception", "if ANOTHER in source:", "if False:"),
        ("layers-counted-from-0", 'f"{theirs}_{i + 1}"', 'f"{theirs}_{i}"'),
        ("counted-batches-refused", "ignored=[COUNTED]", "ignored=[]"),
    ),
    *in_file(
        "tasks/evaluation/statistics_files.py",
        STATISTICS,
        ("statistics-of-another-resize", "if said[field] != value",
         'if said[field] != value and field != "resize"'),
        ("statistics-of-other-weights", "if said[field] != value",
         'if said[field] != value and field != "weights"'),
        ("mu-s-for-mu", '"mu_s", "sigma_s")\n', '"mu", "sigma")\n'),
        ("nan-statistics", "if not (np.isfinite(mean).all() and np.isfinite(cov).all()):",
         "if False:"),
        ("statistics-of-black-images", "if not largest:", "if False:"),
    ),
    *in_file(
        "jobs/evaluate.py",
        JOB,
        ("generated-is-real", 'compare(reference, seen["generated"],',
         'compare(reference, seen["real"],'),
        ("seed-is-not-told", '"seed": config.seed', '"seed": 0'),
        ("sizes-are-not-told", "if real == generated:", "if True:"),
    ),
    *in_file(
        "tasks/evaluation/networks.py",
        JOB,
        ("mini64-before-efficientnet", "if efficientnet_files.installed():", "if False:"),
        ("another-resize-than-told", "resized(pixels, side, resize)",
         'resized(pixels, side, "legacy_pytorch")'),
        ("published-weights", "published = digest.startswith(inception_files.PUBLISHED)",
         "published = True"),
        ("inception-keeps-the-default", "cfg = dataclasses.replace(part.cfg, resize=resize)",
         "cfg = part.cfg"),
    ),
    *in_file(
        "tasks/evaluation/images.py",
        JOB,
        ("two-sizes-in-one-set", "if size != self.size:", "if False:"),
        ("one-image-is-enough", "if len(names) < 2:", "if len(names) < 1:"),
    ),
)  # fmt: skip
