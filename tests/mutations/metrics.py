"""Wrong changes to how images are measured."""

from tests.mutations.mutation import in_file

SCORE = ("tests/tasks/generation/test_score.py",)
FEATURES = ("tests/metrics/test_features.py",)
NEIGHBORS = ("tests/metrics/test_neighbors.py",)
INTERVALS = ("tests/metrics/test_intervals.py",)
MEASURES = ("tests/metrics/test_measures.py",)
RECONSTRUCTION = ("tests/metrics/test_reconstruction.py",)
PIXELS = ("tests/metrics/test_pixels.py",)
ACCURACY = ("tests/metrics/test_accuracy.py",)

MUTATIONS = (
    *in_file(
        "metrics/precision_recall.py",
        SCORE,
        (
            "precision-and-recall-exchanged",
            (
                '"precision": float(np.mean(balls_around > 0)),\n'
                '        "recall": float(np.mean(recalled)),'
            ),
            (
                '"recall": float(np.mean(balls_around > 0)),\n'
                '        "precision": float(np.mean(recalled)),'
            ),
        ),
    ),
    *in_file(
        "metrics/precision_recall.py",
        FEATURES,
        (
            "recall-by-balls-of-real-points",
            "squared <= generated_reach[None, columns]",
            "squared <= real_reach[rows, None]",
        ),
        ("radii-to-the-nearest", "np.sqrt(nearest.max(axis=1))", "np.sqrt(nearest.min(axis=1))"),
        (
            "radii-count-the-point-itself",
            "np.fill_diagonal(squared, np.inf)",
            "np.fill_diagonal(squared, 0.0)",
        ),
        (
            "density-and-coverage-exchanged",
            (
                '"density": float(np.mean(balls_around) / k),\n'
                '        "coverage": float(np.mean(points_inside > 0)),'
            ),
            (
                '"coverage": float(np.mean(balls_around) / k),\n'
                '        "density": float(np.mean(points_inside > 0)),'
            ),
        ),
    ),
    *in_file(
        "metrics/frechet.py",
        FEATURES,
        (
            "covariance-divided-by-n",
            "centred.T @ centred / (len(features) - 1)",
            "centred.T @ centred / len(features)",
        ),
        ("frechet-without-means", "gap @ gap + np.trace(cov1)", "np.trace(cov1)"),
        (
            "frechet-root-of-one-covariance",
            "_factor(cov1).T @ _factor(cov2)",
            "_factor(cov1).T @ _factor(cov1)",
        ),
        (
            "statistics-of-blocks-around-their-first-mean",
            "return self._origin + mean,",
            "return self._origin,",
        ),
    ),
    *in_file(
        "metrics/kid.py",
        FEATURES,
        ("kid-biased", "(_kernel_sum(x, x) - _kernel_self_sum(x))", "_kernel_sum(x, x)"),
        ("kid-kernel-squared", "base * base * base", "base * base"),
        (
            "kid-draws-generated-first",
            (
                "of_real = draws.choice(len(real), size, replace=False)\n"
                "        of_generated = draws.choice(len(generated), size, replace=False)"
            ),
            (
                "of_generated = draws.choice(len(generated), size, replace=False)\n"
                "        of_real = draws.choice(len(real), size, replace=False)"
            ),
        ),
    ),
    *in_file(
        "metrics/neighbors.py",
        NEIGHBORS,
        (
            "near-copies-by-the-generated-images-own-scale",
            "if limits := _thresholds(heldout, least):",
            "if limits := _thresholds(generated, least):",
        ),
        (
            "exact-copies-do-not-count",
            "copy = copy | near",
            "copy = near",
        ),
        (
            "medians-of-generated-and-held-out-exchanged",
            'found["median"] = _medians(generated)',
            'found["median"] = _medians(heldout)',
        ),
        (
            "near-copies-by-either-distance",
            'limits["pixel"]) & (generated.feature',
            'limits["pixel"]) | (generated.feature',
        ),
        (
            "near-copies-from-few-held-out-images",
            "chosen.sum() < least",
            "chosen.sum() < 1",
        ),
        (
            "near-copies-as-far-as-held-out-images-are",
            "min(FARTHEST, float(np.quantile(heldout.pixel[chosen], QUANTILE)))",
            "float(np.quantile(heldout.pixel[chosen], QUANTILE))",
        ),
        (
            "held-out-copies-set-the-threshold",
            "heldout.pixel > 0",
            "heldout.pixel >= 0",
        ),
        (
            "pixel-distances-in-grey-levels",
            "np.sqrt(squared_distances(a, b) / room)",
            "np.sqrt(squared_distances(a, b) / room.mean())",
        ),
        (
            "mean-colour-decides",
            "areas -= (1 - _MEAN_COLOUR) *",
            "areas -= 0 *",
        ),
        (
            "images-do-not-slide",
            "np.minimum(pixel[:, place], np.sqrt(gap / room))",
            "np.minimum(pixel[:, place], np.inf)",
        ),
        (
            "images-slide-to-the-right-alone",
            "for down in (-step, 0, step)",
            "for down in (0,)",
        ),
        (
            "nearest-in-pixels-alone",
            "product = pixel if feature is None else pixel * feature\n    rows",
            "product = pixel\n    rows",
        ),
        (
            "pairs-of-the-farthest",
            "order = np.argsort(generated.product",
            "order = np.argsort(-generated.product",
        ),
        (
            "pairs-of-other-images",
            '"image": names[training],',
            '"image": names[training - 1],',
        ),
        ("copied-least-first", "np.argsort(-times", "np.argsort(times"),
    ),
    *in_file(
        "metrics/intervals.py",
        INTERVALS,
        ("intervals-around-their-bias", " - np.mean(draws))", " - value)"),
        ("intervals-of-90-percent", "_TAIL = 0.025", "_TAIL = 0.05"),
        ("intervals-of-fewer-images", "spread(real, generated) / spread(*few)", "1.0"),
        (
            "wilson-without-its-shift",
            "(share + room / 2) / (1 + room)",
            "share",
        ),
        (
            "one-draw-for-both-sets",
            "for x in some]\n    draws",
            "for x in some[:1] * 2]\n    draws",
        ),
    ),
    *in_file(
        "metrics/frechet.py",
        INTERVALS,
        (
            "jackknife-of-real-images-alone",
            "_jackknife(real, generated) + _jackknife(generated, real)",
            "2 * _jackknife(real, generated)",
        ),
        (
            "jackknife-of-the-group-left-out",
            "statistics(features[groups != group])",
            "statistics(features[groups >= group])",
        ),
    ),
    *in_file(
        "metrics/kid.py",
        INTERVALS,
        ("pairs-of-an-image-with-itself", "np.fill_diagonal(kernel, 0.0)", "pass"),
    ),
    *in_file(
        "metrics/precision_recall.py",
        INTERVALS,
        (
            "drawn-recall-by-real-balls",
            '"recall": mean((w > 0) @ in_generated.T > 0, u)',
            '"recall": mean((w > 0) @ in_real.T > 0, u)',
        ),
        (
            "drawn-precision-in-balls-of-all",
            '"precision": mean((u > 0) @ in_real > 0, w)',
            '"precision": mean((u >= 0) @ in_real > 0, w)',
        ),
    ),
    *in_file(
        "metrics/measures.py",
        SCORE,
        (
            "kid-of-real-against-real",
            "kid.kid(seen.real, seen.some)",
            "kid.kid(seen.real, seen.real)",
        ),
        (
            "kid-deviation-for-mean",
            "kid.kid(seen.real, seen.some)[0]",
            "kid.kid(seen.real, seen.some)[1]",
        ),
        (
            "frechet-of-real-and-real",
            "seen.statistics.distance(seen.features)",
            "seen.statistics.distance(seen.real)",
        ),
        (
            "frechet-of-some-generated",
            "seen.statistics.distance(seen.features)",
            "seen.statistics.distance(seen.some)",
        ),
        (
            "precision-and-recall-arguments-exchanged",
            "return neighbours(seen.real, seen.some)",
            "return neighbours(seen.some, seen.real)",
        ),
        (
            "precision-of-three-images",
            "generated = len(seen.some) if generated is None else generated",
            "generated = len(seen.images) if generated is None else generated",
        ),
        (
            "near-copies-against-held-out-images",
            "generated = neighbors.nearest(looks, seen.tune)",
            "generated = neighbors.nearest(looks, seen.test or seen.tune)",
        ),
        (
            "accuracy-of-reversed-labels",
            "judge.accuracy(images, labels, features",
            "judge.accuracy(images, labels[::-1], features",
        ),
    ),
    *in_file(
        "metrics/measures.py",
        MEASURES,
        (
            "measured-from-one-image-too-few",
            "if count < LEAST[name]]",
            "if count < LEAST[name] - 1]",
        ),
        (
            "counts-of-generated-and-real-exchanged",
            'counts = {"images": generated, "real": real}',
            'counts = {"images": real, "real": generated}',
        ),
        (
            "near-copies-of-few-have-an-interval",
            'return Measured(found | {"reason": reason}, None, counts, reason)',
            'return Measured(found | {"reason": reason}, (0.0, 1.0), counts, reason)',
        ),
        (
            "perfect-shares-are-certain",
            "found[name] = intervals.hull(own, found[name], 0.0, 1.0)",
            "found[name] = intervals.hull(found[name], found[name], 0.0, 1.0)",
        ),
    ),
    *in_file(
        "metrics/reconstruction.py",
        RECONSTRUCTION,
        (
            "psnr-of-the-first-image",
            "float(np.mean(squares))",
            "float(squares[0])",
        ),
        (
            "feature-distance-between-images",
            "np.sum((own - other) ** 2, axis=1)",
            "np.sum((own - own[::-1]) ** 2, axis=1)",
        ),
        ("psnr-alone-decides", "if near and found", "if found"),
        ("features-alone-decide", 'and found["psnr"] >= bounds["psnr"]', ""),
    ),
    *in_file(
        "metrics/diversity.py",
        PIXELS,
        ("diversity-with-oneself", "/ (n * (n - 1))", "/ (n * n)"),
        (
            "diversity-over-all-classes",
            "pairwise_distance(images[labels == label])",
            "pairwise_distance(images)",
        ),
        ("distance-to-every-reference", "reference[reference_labels == label])", "reference)"),
    ),
    *in_file(
        "metrics/accuracy.py",
        ACCURACY,
        (
            "judge-counts-mistakes",
            "self.predict(images, features) == labels",
            "self.predict(images, features) != labels",
        ),
        ("judge-without-scales", "b / s for b, s in", "b for b, s in"),
        (
            "judge-turns-images",
            "(down @ grey @ across.T)",
            "(down @ grey @ across.T).swapaxes(1, 2)",
        ),
    ),
)
