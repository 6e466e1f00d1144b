"""Wrong changes to pages, tables and charts."""

from tests.mutations.mutation import in_file

TRANSFER_PAGE = ("tests/report/test_transfer_page.py",)
COMPARISON_PAGE = ("tests/report/test_comparison_page.py",)
SIDE_BY_SIDE_PAGE = ("tests/report/test_side_by_side_page.py",)
TASKS_PAGE = ("tests/report/test_tasks_page.py",)
TASKS = ("tests/report/test_tasks.py",)
PICTURES = ("tests/report/test_pictures.py",)
DRAWN = ("tests/report/test_drawn.py",)
PROGRESS_PAGE = ("tests/report/test_progress_page.py",)

MUTATIONS = (
    *in_file(
        "report/transfer.py",
        TRANSFER_PAGE,
        (
            "summary-real-is-reconstructed",
            '("reconstructed", "reconstructed ones"),',
            '("real", "reconstructed ones"),',
        ),
        (
            "summary-untuned-is-tuned",
            '("untuned", "without tuning"),',
            '("prompt", "without tuning"),',
        ),
        (
            "summary-distances-exchanged",
            'tuned, untuned = result.value("frechet"), result.value("untuned_frechet")',
            'untuned, tuned = result.value("frechet"), result.value("untuned_frechet")',
        ),
        (
            "summary-distance-is-kid",
            'result.value("frechet"), result',
            'result.value("kid"), result',
        ),
        (
            "summary-losses-exchanged",
            (
                'f"The loss is {loss(result.tune_loss)} on training images and "\n'
                '            f"{loss(result.test_loss)} on'
            ),
            (
                'f"The loss is {loss(result.test_loss)} on training images and "\n'
                '            f"{loss(result.tune_loss)} on'
            ),
        ),
        (
            "summary-interval-of-the-distance-is-kids",
            "{with_interval(result, 'frechet')}",
            "{with_interval(result, 'kid')}",
        ),
        (
            "summary-guessing-is-never-told",
            "interval[0] <= guess <= interval[1]",
            "interval[1] <= guess <= interval[0]",
        ),
        (
            "summary-of-a-backbone-that-keeps-details",
            'fit["keeps"] == "details"',
            'fit["keeps"] == "shapes"',
        ),
        (
            "page-losses-exchanged",
            (
                '"training images", "nats per code": result.tune_loss},\n'
                '            {"loss on": "held-out images", "nats per code": result.test_loss}'
            ),
            (
                '"training images", "nats per code": result.test_loss},\n'
                '            {"loss on": "held-out images", "nats per code": result.tune_loss}'
            ),
        ),
        (
            "page-captions-of-tuned-and-untuned-exchanged",
            "{captions.get(name, name): pictures[name]",
            (
                '{captions.get({"prompt": "untuned", "untuned": "prompt"}.get(name, '
                "name), name): pictures[name]"
            ),
        ),
        ("page-total-counts-twice", '"total": sum(', '"total": 2 * sum('),
    ),
    *in_file(
        "report/scored.py",
        TRANSFER_PAGE,
        (
            "page-median-of-generated-is-heldout",
            '"median of generated images", **copies["median"]}',
            '"median of generated images", **copies["median_heldout"]}',
        ),
        (
            "page-near-copies-count-is-fraction",
            "{copies['count']:,} {of}",
            "{copies['fraction']:,} {of}",
        ),
        (
            "page-own-pictures-are-these-images",
            'known"): own}',
            'known"): fit}',
        ),
        (
            "accuracy-above-real-images-is-not-explained",
            "tuned > value",
            "tuned < value",
        ),
        (
            "accuracy-above-real-ones-is-above-reconstructed-ones",
            '(("real", "real ones"), ("reconstructed", "reconstructed ones"))',
            '(("reconstructed", "real ones"), ("real", "reconstructed ones"))',
        ),
        (
            "near-copies-not-told-for-another-reason",
            "f\"Not counted: {copies['reason']}.\"",
            '"Not counted."',
        ),
    ),
    *in_file(
        "report/tables.py",
        TRANSFER_PAGE,
        (
            "tables-without-intervals",
            "row.get(INTERVALS, {}).get(column.name)",
            "row.get(INTERVALS, {}).get(column.label)",
        ),
    ),
    *in_file(
        "report/comparison.py",
        COMPARISON_PAGE,
        (
            "comparison-leaders-without-their-intervals",
            "row[name] == best or low <= best <= high",
            "row[name] == best",
        ),
        (
            "comparison-lowest-held-out-loss-is-of-training",
            ('"kid", ..., "heldout_loss")\n\n'),
            ('"kid", ..., "train_loss")\n\n'),
        ),
        (
            "comparison-rows-of-all-shots",
            'chosen = [row for row in rows if row["shots"] == shots]',
            'chosen = [row for row in rows if row["shots"] >= shots]',
        ),
        (
            "comparison-rows-of-other-shots",
            'chosen = [row for row in rows if row["shots"] == shots]',
            'chosen = [row for row in rows if row["shots"] != shots]',
        ),
        (
            "comparison-chart-of-training-loss",
            'scores = ("accuracy", "frechet", "heldout_loss")',
            'scores = ("accuracy", "frechet", "train_loss")',
        ),
    ),
    *in_file(
        "report/tables.py",
        COMPARISON_PAGE,
        (
            "comparison-chart-of-other-shots",
            'shots_in_words(row["shots"]), {})[bar(row)]',
            'shots_in_words(rows[0]["shots"]), {})[bar(row)]',
        ),
    ),
    *in_file(
        "report/tables.py",
        TASKS_PAGE,
        (
            "tasks-tuned-and-untuned-exchanged",
            "{column.label: row.get(column.name) for",
            "{column.label: row.get(column.name.removeprefix('untuned_')) for",
        ),
    ),
    *in_file(
        "report/tables.py",
        SIDE_BY_SIDE_PAGE,
        ("origin-of-a-row-ignored", "score.label_of(origin)", 'score.label_of("")'),
    ),
    *in_file(
        "report/side_by_side.py",
        SIDE_BY_SIDE_PAGE,
        (
            "models-untuned-and-tuned-accuracy-exchanged",
            '"accuracy", "untuned_accuracy", "frechet"',
            '"untuned_accuracy", "frechet"',
        ),
        ("models-losses-exchanged", '"heldout_loss", "train_loss")', '"train_loss")'),
        (
            "models-marquee-of-fewest-images",
            'most = max(row["shots"] for row in rows)',
            'most = min(row["shots"] for row in rows)',
        ),
        (
            "models-chart-of-untuned-distance",
            '("accuracy", "frechet"))',
            '("accuracy", "untuned_frechet"))',
        ),
    ),
    *in_file(
        "report/tasks.py",
        TASKS_PAGE,
        (
            "tasks-real-and-generated-accuracy-exchanged",
            '"accuracy", "real_accuracy", ...)',
            '"accuracy", ...)',
        ),
        (
            "tasks-heldout-loss-is-training",
            '("heldout_loss", "near_copies")',
            '("train_loss", "near_copies")',
        ),
        (
            "tasks-chart-exchanged",
            'names = {"frechet": "tuned", "untuned_frechet": "untuned"}',
            'names = {"frechet": "untuned", "untuned_frechet": "tuned"}',
        ),
        (
            "tasks-accuracy-chart-exchanged",
            'names = {"accuracy": "generated images", "real_accuracy": "held-out real images"}',
            'names = {"real_accuracy": "generated images", "accuracy": "held-out real images"}',
        ),
        (
            "tasks-means-over-all",
            "values = [row[key] for row in done if",
            "values = [row[key] for row in rows if",
        ),
        (
            "tasks-done-and-all-exchanged",
            '"tasks": len(done), "of": len(rows)',
            '"tasks": len(rows), "of": len(done)',
        ),
        (
            "tasks-images-are-generated",
            '_COUNTS = ("classes", "images", "steps")',
            '_COUNTS = ("classes", "generated", "steps")',
        ),
    ),
    *in_file(
        "report/tasks.py",
        TASKS,
        (
            "tasks-median-for-mean",
            "statistics.fmean(values) if values",
            "statistics.median(values) if values",
        ),
    ),
    *in_file(
        "report/sheets.py",
        PICTURES,
        (
            "sheet-cells-of-other-classes",
            "cells[label, : len(chosen)] = images[chosen]",
            "cells[classes - 1 - label, : len(chosen)] = images[chosen]",
        ),
    ),
    *in_file(
        "report/curves.py",
        DRAWN,
        (
            "curves-values-over-values",
            "axes.plot(steps, values, color=colour, linewidth=1.8",
            "axes.plot(values, steps, color=colour, linewidth=1.8",
        ),
        (
            "curves-bars-of-first-group",
            "places = [(g + offset, h * factor) for g, h in",
            "places = [(len(heights) - 1 - g + offset, h * factor) for g, h in",
        ),
    ),
    *in_file(
        "report/progress.py",
        PROGRESS_PAGE,
        ("progress-shows-the-oldest-sheets", "sorted(sheets, reverse=True)", "sorted(sheets)"),
        ("progress-of-a-finished-run-reloads", "RELOAD if running else 0", "RELOAD"),
    ),
)
