"""Wrong changes to how images are measured."""

from tests.mutations.mutation import in_file

SCORE = ("tests/tasks/generation/test_score.py",)
FEATURES = ("tests/metrics/test_features.py",)
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
        ("kid-kernel-squared", "/ x.shape[1] + 1.0) ** 3", "/ x.shape[1] + 1.0) ** 2"),
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
        PIXELS,
        (
            "near-copies-by-the-generated-images-own-scale",
            "np.quantile(distance_test, quantile)",
            "np.quantile(distance, quantile)",
        ),
        (
            "near-copies-of-each-other",
            "distance, _ = nearest(generated, training)",
            "distance, _ = nearest(generated, generated)",
        ),
        (
            "exact-copies-do-not-count",
            "(distance < threshold) | (distance == 0.0)",
            "distance < threshold",
        ),
        (
            "medians-of-generated-and-held-out-exchanged",
            (
                '"median_distance": float(np.median(distance)),\n'
                '        "median_distance_heldout": float(np.median(distance_test)),'
            ),
            (
                '"median_distance": float(np.median(distance_test)),\n'
                '        "median_distance_heldout": float(np.median(distance)),'
            ),
        ),
        (
            "nearest-in-its-block",
            "columns.start + squared.argmin(axis=1)",
            "squared.argmin(axis=1)",
        ),
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
