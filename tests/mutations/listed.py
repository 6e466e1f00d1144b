"""Wrong changes to sets by lists, to windows of images, to published settings and their sweeps."""

from tests.mutations.mutation import in_file

FGVC = ("tests/data/sets/test_fgvc.py",)
LISTS = ("tests/data/sets/test_vtab_lists.py",)
JOBS = ("tests/jobs/test_listed_sets.py",)
SETTINGS = ("tests/config/test_published_settings.py",)
SHEETS = ("tests/report/test_pictures.py",)

MUTATIONS = (
    *in_file(
        "data/sets/fgvc.py",
        FGVC,
        ("classes-in-the-order-of-files", "ids = sorted(ids)\n", "ids = list(ids)[::-1]\n"),
        ("gaps-are-never-refused", "if len(ids) != one.classes:", "if False:"),
        ("digits-are-names", "name.isdecimal()", "name.isalpha()"),
    ),
    *in_file(
        "data/sets/listed.py",
        FGVC,
        ("of-two-classes-the-first", "if before != label:", "if False:"),
        (
            "rows-of-lists-are-sorted",
            "np.array([number[file] for file, _ in listing.rows], np.int64)",
            "np.array([number[file] for file, _ in listing.rows[::-1]], np.int64)",
        ),
    ),
    *in_file(
        "data/sets/vtab_lists.py",
        LISTS,
        ("one-class-too-many", "int(label) >= task.classes", "int(label) > task.classes"),
        ("file-ends-at-the-first-blank", '.rpartition(" ")', '.partition(" ")'),
        ("grey-becomes-rgb", 'if upright.mode != "L":', "if upright.mode:"),
        ("png-is-not-turned", "ImageOps.exif_transpose(image)", "image.copy()"),
        (
            "list-of-both-is-train",
            'lines["train800"] + lines["val200"]',
            'lines["train800"] + lines["test"]',
        ),
    ),
    *in_file(
        "data/pixels.py",
        FGVC,
        ("window-is-always-the-middle", "min(n - 1, int(n * p))", "(n - 1) // 2"),
        ("shorter-side-is-the-square", "self.size * 8 // 7", "self.size"),
    ),
    *in_file(
        "tasks/classification/inputs.py",
        JOBS,
        (
            "windows-of-step-0",
            "rng((batches.STREAM_AUGMENT, step, i)).random",
            "rng((1, i)).random",
        ),
        ("windows-are-never-mirrored", "drawn[:, 2] < 0.5", "drawn[:, 2] < 0.0"),
        ("features-of-one-window", " or windows(plan):", ":"),
    ),
    *in_file(
        "config/published_settings.py",
        SETTINGS,
        (
            "final-rates-are-scaled-again",
            "self.learning_rate * BATCH / self.batch_size",
            "self.learning_rate",
        ),
        ("one-batch-for-all-tasks", "found.batch_size, True", "64, True"),
    ),
    *in_file(
        "report/sheets.py",
        SHEETS,
        ("cards-go-down-first", "i % cols * (cell_w", "i // cols * (cell_w"),
        ("caption-is-dark-throughout", "_MUTED if line else _INK", "_INK"),
    ),
)
