"""Wrong changes to which scores there are, of what, and to the results of a run."""

from tests.mutations.mutation import in_file

SCORE = ("tests/tasks/generation/test_score.py",)
WIRING = ("tests/tasks/generation/test_wiring.py",)
SUMMARY = ("tests/tasks/generation/test_summary.py",)
TRANSFER_PAGE = ("tests/report/test_transfer_page.py",)
SCORES = ("tests/metrics/test_scores.py",)
COMPARISON_PAGE = ("tests/report/test_comparison_page.py",)
SIDE_BY_SIDE_PAGE = ("tests/report/test_side_by_side_page.py",)
SIDE_BY_SIDE_ROWS = ("tests/jobs/test_side_by_side_rows.py",)
VTAB_ROWS = ("tests/jobs/test_vtab_rows.py",)
MAIN_JOB = ("tests/jobs/test_main_job.py",)
NEW_SCORE = ("tests/tasks/generation/test_new_score.py",)

MUTATIONS = (
    *in_file(
        "metrics/scores.py",
        WIRING,
        (
            "precision-and-recall-exchanged-in-the-report",
            '"precision",\n        about=',
            '"recall",\n        about=',
        ),
        ("precision-of-the-report-is-recall", "item=name,", 'item="recall",'),
        (
            "frechet-is-kid",
            'measures.frechet_distance,\n        key="frechet"',
            'measures.kernel_distance,\n        key="frechet"',
        ),
    ),
    *in_file(
        "metrics/scores.py",
        SCORES,
        (
            "scores-kid-is-frechet",
            'measures.kernel_distance,\n        key="kid"',
            'measures.kernel_distance,\n        key="frechet"',
        ),
        (
            "scores-heldout-loss-is-training",
            "read=lambda run: run.test_loss",
            "read=lambda run: run.tune_loss",
        ),
        ("scores-near-copies-are-a-count", 'item="fraction"', 'item="count"'),
        (
            "scores-trainable-is-frozen",
            "read=lambda run: run.trainable",
            "read=lambda run: run.frozen",
        ),
    ),
    *in_file(
        "metrics/scores.py",
        TRANSFER_PAGE,
        ("page-precision-and-recall-exchanged", "item=name,", 'item="precision",'),
        (
            "page-kid-and-frechet-exchanged",
            'measures.frechet_distance,\n        key="frechet"',
            'measures.frechet_distance,\n        key="kid"',
        ),
        (
            "page-marquee-columns-exchanged",
            (
                '"diversity": Score("diversity", fixed(4), HIGHER),\n'
                '    "distance_to_instance": Score("distance to the instance", fixed(4), LOWER)'
            ),
            (
                '"diversity": Score("distance to the instance", fixed(4), HIGHER),\n'
                '    "distance_to_instance": Score("diversity", fixed(4), LOWER)'
            ),
        ),
    ),
    *in_file(
        "metrics/scores.py",
        COMPARISON_PAGE,
        (
            "comparison-losses-exchanged",
            '"held-out loss",\n        fixed(3)',
            '"training loss",\n        fixed(3)',
        ),
        (
            "comparison-kid-and-frechet-exchanged",
            '"kid": Score(\n        "KID"',
            '"kid": Score(\n        "Fréchet distance"',
        ),
        (
            "comparison-worst-distance-leads",
            ('"Fréchet distance",\n        number,\n        LOWER'),
            ('"Fréchet distance",\n        number,\n        HIGHER'),
        ),
        (
            "lower-accuracy-is-better",
            ("percent,\n        HIGHER,\n        measures.accuracy"),
            ("percent,\n        LOWER,\n        measures.accuracy"),
        ),
    ),
    *in_file(
        "metrics/scores.py",
        SIDE_BY_SIDE_PAGE,
        (
            "models-untuned-and-tuned-distance-exchanged",
            "{self.short or self.label} {origin}",
            "{self.short or self.label}",
        ),
        (
            "models-seconds-exchanged",
            '"tuning_seconds": Score(\n        "seconds of tuning"',
            '"tuning_seconds": Score(\n        "seconds per image"',
        ),
        (
            "models-marquee-columns-exchanged",
            '"distance_to_instance": Score("distance to the instance"',
            '"distance_to_instance": Score("diversity"',
        ),
    ),
    *in_file(
        "metrics/scores.py",
        SIDE_BY_SIDE_ROWS,
        (
            "models-row-seconds-of-sampling",
            '"seconds of tuning", fixed(1), LOWER, read=lambda run: run.seconds.get("tune")',
            '"seconds of tuning", fixed(1), LOWER, read=lambda run: run.seconds.get("sample")',
        ),
    ),
    *in_file(
        "metrics/scores.py",
        VTAB_ROWS,
        ("vtab-images-of-the-judge", 'run.data.images["tune"]', 'run.data.images["judge"]'),
    ),
    *in_file(
        "metrics/scores.py",
        MAIN_JOB,
        (
            "job-last-words-of-reconstructed",
            'beside=("real", "untuned"),\n        caption',
            'beside=("reconstructed", "untuned"),\n        caption',
        ),
    ),
    *in_file(
        "metrics/scores.py",
        NEW_SCORE,
        (
            "tables-without-new-scores",
            "found += more if name is ... else [name]",
            "found += [] if name is ... else [name]",
        ),
    ),
    *in_file(
        "tasks/generation/score.py",
        SCORE,
        (
            "features-of-held-out-for-generated",
            "features = self._features(images)\n",
            "features = self._features(self._test)\n",
        ),
        (
            "reference-features-of-tuned-images",
            "rows, images = self._data.reference, self._data.images",
            "rows, images = self._data.tune, self._data.images",
        ),
        (
            "reference-features-of-held-out-images",
            "rows, images = self._data.reference, self._data.images",
            "rows, images = self._data.test, self._data.images",
        ),
        (
            "reference-statistics-of-some",
            "whole.add(features)",
            "whole.add(features[np.isin(rows[place : place + len(pixels)], kept)])",
        ),
        ("reference-not-thinned", "rows], FEATURES, 0)", "rows], 0, 0)"),
        ("reference-rows-of-the-first-block", "place += len(pixels)", "place += 0"),
        (
            "generated-not-subsampled",
            "features[:: -(-len(features) // FEATURES)]",
            "features[:: 1]",
        ),
        (
            "generated-subsampled-from-the-front",
            "features[:: -(-len(features) // FEATURES)]",
            "features[:FEATURES]",
        ),
        (
            "reconstructed-is-real",
            '"reconstructed": self._test}',
            '"reconstructed": self._real}',
        ),
        (
            "real-is-reconstructed",
            '{"real": self._real,',
            '{"real": self._test,',
        ),
        (
            "held-out-labels-reversed-for-the-judge",
            "labels = self._data.labels(self._data.test)",
            "labels = self._data.labels(self._data.test)[::-1]",
        ),
        (
            "near-copies-training-and-held-out-exchanged",
            "tune=self._tune,\n            test=self._test,",
            "test=self._tune,\n            tune=self._test,",
        ),
        (
            "near-copies-scale-not-reconstructed",
            "self._look(self.reconstruct(data.test))",
            "self._look(data.images.read(data.test))",
        ),
        (
            "near-copies-training-not-reconstructed",
            "self._look(self.reconstruct(self.compared))",
            "self._look(data.images.read(self.compared))",
        ),
        ("most-ignored-by-the-scorer", "most, seed)]\n", "0, seed)]\n"),
        ("seed-ignored-by-the-scorer", "most, seed)]\n", "most, 0)]\n"),
        (
            "fit-of-the-tuned-images",
            '("test", data.test) if len(data.test) else',
            '("test", data.test) if not len(data.test) else',
        ),
        (
            "features-of-other-images-than-their-reconstructions",
            "(real.features, made.features)",
            "(made.features, made.features)",
        ),
        (
            "reasons-are-not-told",
            "if warning not in self.warnings]\n        return",
            "if False]\n        return",
        ),
        (
            "reasons-are-told-each-time",
            "if warning not in self.warnings]\n        return",
            "if True]\n        return",
        ),
        (
            "names-of-other-training-images",
            "ids[row] for row in self.compared]",
            "ids[row] for row in self._data.test]",
        ),
        (
            "judge-trained-on-held-out-images",
            "self._data.labels(self._data.judge)\n",
            (
                "self._data.labels(self._data.test)\n"
                "        data = Splits(data.images, data.tune, data.test, data.test, "
                "data.reference)\n"
            ),
        ),
        (
            "judge-trained-on-tuned-images",
            "self._data.labels(self._data.judge)\n",
            (
                "self._data.labels(self._data.tune)\n"
                "        data = Splits(data.images, data.tune, data.tune, data.test, "
                "data.reference)\n"
            ),
        ),
        (
            "judge-lacks-a-class",
            "elif len(missing := np.setdiff1d(np.arange(len(names)), labels)):",
            "elif len(missing := []):",
        ),
        (
            "most-not-passed-to-the-scorer",
            "plan.config.score.most, plan.config.data.seed",
            "0, plan.config.data.seed",
        ),
        (
            "scorer-with-the-seed-of-tuning",
            "plan.config.score.most, plan.config.data.seed",
            "plan.config.score.most, plan.config.seed",
        ),
        (
            "missing-classes-of-the-judge",
            "len(np.unique(data.labels(data.tune)))",
            "len(np.unique(data.labels(data.judge)))",
        ),
    ),
    *in_file(
        "tasks/generation/summary.py",
        SUMMARY,
        (
            "training-and-held-out-loss-exchanged",
            'tune_loss=run.loss["train"],\n        test_loss=run.loss["heldout"],',
            'test_loss=run.loss["train"],\n        tune_loss=run.loss["heldout"],',
        ),
        (
            "trainable-and-frozen-exchanged",
            "trainable=run.trainable,\n        frozen=tuned.frozen,",
            "frozen=run.trainable,\n        trainable=tuned.frozen,",
        ),
        ("frozen-without-the-tokenizer", "frozen=tuned.frozen", "frozen=run.frozen"),
        ("counts-of-tune-and-test-exchanged", '"tune": len(data.tune),', '"tune": len(data.test),'),
        ("count-of-test-is-judge", '"test": len(data.test)', '"test": len(data.judge)'),
        (
            "count-of-reference-is-test",
            '"reference": len(data.reference)',
            '"reference": len(data.test)',
        ),
        ("generated-counts-classes", "generated=len(classes)", "generated=len(set(classes))"),
        (
            "real-accuracy-left-out",
            "scores={**scorer.of_real(), **scores}",
            "scores={**scores}",
        ),
        (
            "last-words-real-for-prompt",
            "[score.label, shown[PROMPT], brackets(",
            "[score.label, list(shown.values())[-1], brackets(",
        ),
        (
            "last-words-interval-of-the-untuned",
            "brackets(found.interval(name), digits)",
            'brackets(found.interval(name, "real"), digits)',
        ),
        (
            "last-words-without-what-is-kept",
            "if fit := found.reconstruction:",
            "if fit := None:",
        ),
        (
            "last-words-frechet-is-kid",
            "found.value(name, origin)",
            'found.value("accuracy", origin)',
        ),
    ),
    *in_file(
        "metrics/run_result.py",
        SUMMARY,
        (
            "share-without-the-tokenizer",
            "self.trainable / (self.trainable + self.frozen)",
            "self.trainable / (self.trainable + self.frozen - 70)",
        ),
        (
            "share-of-the-frozen",
            "self.trainable / (self.trainable + self.frozen)",
            "self.trainable / self.frozen",
        ),
        (
            "near-copies-of-untuned-images",
            "parts[PROMPT].get(key)",
            'parts["untuned"].get(key)',
        ),
    ),
    *in_file(
        "metrics/run_result.py",
        TRANSFER_PAGE,
        (
            "scores-tuned-accuracy-is-untuned",
            "origin: str = PROMPT) -> Any:",
            'origin: str = "untuned") -> Any:',
        ),
    ),
    *in_file(
        "metrics/run_result.py",
        SCORES,
        (
            "scores-untuned-distance-is-tuned",
            "scores = self.scores.get(named or origin)\n        return None if scores is None",
            "scores = self.scores.get(origin)\n        return None if scores is None",
        ),
        (
            "scores-untuned-interval-is-tuned",
            "scores = self.scores.get(named or origin)\n        return None if score.read",
            "scores = self.scores.get(origin)\n        return None if score.read",
        ),
        (
            "rows-without-intervals",
            "return row | {INTERVALS: known} if known else row",
            "return row",
        ),
        (
            "results-read-without-counts",
            'for name in (INTERVALS, "counts")}',
            "for name in (INTERVALS,)}",
        ),
        (
            "scores-kid-is-untuned",
            "origin: str = PROMPT) -> dict",
            'origin: str = "untuned") -> dict',
        ),
        (
            "results-read-with-losses-exchanged",
            'tune_loss=group("loss").get("train")',
            'tune_loss=group("loss").get("heldout")',
        ),
        (
            "results-parameters-exchanged",
            'trainable=group("parameters").get("trainable")',
            'trainable=group("parameters").get("frozen")',
        ),
    ),
    *in_file(
        "metrics/run_result.py",
        MAIN_JOB,
        (
            "job-kid-is-frechet",
            "{origin: found[key] for",
            "{origin: found['frechet' if key == 'kid' else key] for",
        ),
        (
            "job-losses-exchanged",
            '"train": self.tune_loss, "heldout": self.test_loss',
            '"train": self.test_loss, "heldout": self.tune_loss',
        ),
    ),
)
