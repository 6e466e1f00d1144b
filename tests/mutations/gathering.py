"""Wrong changes to gathering pictures, and to the data set `twemoji`."""

from tests.mutations.mutation import Mutation, in_file

PICTURES = ("tests/gathering/test_pictures.py",)
PACKAGES = ("tests/gathering/test_packages.py",)
EMOJI = ("tests/gathering/test_emoji.py",)
SHRINKING = ("tests/gathering/test_shrinking.py",)
CROPS = ("tests/gathering/test_crops.py",)
EXCLUSIONS = ("tests/gathering/test_exclusions.py",)
TARGETS = ("tests/gathering/test_targets.py",)
TWEMOJI = ("tests/data/sets/test_twemoji.py",)


def _script(file: str, tests: tuple[str, ...], *changes: tuple[str, str, str]):
    return tuple(
        Mutation(name, f"benchmarks/{file}", old, new, tests) for name, old, new in changes
    )


MUTATIONS = (
    *_script(
        "pictures.py",
        PICTURES,
        (
            "held-out-pictures-among-the-others",
            'f"heldout/{place}" if held else place',
            'f"heldout/{place}" if not held else place',
        ),
        ("equal-pictures-kept", "seen.add(data)", "seen.add(b'')"),
        (
            "small-classes-to-the-top",
            'group.rpartition("/")[0] or "unsorted"',
            'group.partition("/")[0]',
        ),
        ("half-a-folder-stays", "shutil.rmtree(filling, ignore_errors=True)", "pass"),
    ),
    *_script(
        "gathering/packages.py",
        PACKAGES,
        ("packages-not-checked", "if found != expected:", "if not found:"),
        ("members-of-ar-unpadded", "size + size % 2", "size"),
        ("links-read-as-files", "if member.isreg():", "if True:"),
    ),
    *_script(
        "gathering/emoji.py",
        EMOJI,
        ("tones-are-families", "_VARIANTS = TONES |", "_VARIANTS = set() |"),
        ("genders-are-families", "people.get(p, p)", "p"),
    ),
    *_script(
        "gathering/sources.py",
        PICTURES,
        ("colours-make-families", "if word not in COLOURS", "if word"),
    ),
    *_script(
        "gathering/shrinking.py",
        SHRINKING,
        ("hidden-colours-kept", "pixels[opacity == 0] = 0", "pass"),
        ("page-not-cut-off", "drawn &= (pixels != corners[0]).any(-1)", "pass"),
        ("huge-pictures-decoded", 'raise Unfit(f"more than {LARGEST:,} pixels")', "pass"),
    ),
    *_script(
        "gathering/crops.py",
        CROPS,
        (
            "crops-reach-the-held-out-corner",
            "left + side <= width - corner or",
            "left + side <= width or",
        ),
    ),
    *_script(
        "gathering/exclusions.py",
        EXCLUSIONS,
        ("keycaps-trained-on", '"keycap/* */100', '"*/100'),
        ("bricks-trained-on", '"brick/* grass/*', '"grass/*'),
    ),
    *_script(
        "gathering/targets.py",
        TARGETS,
        ("textures-of-one-place", "number % ACROSS * side", "0"),
        ("cartoons-are-birds", 'endswith("stamps/animals/birds")', 'find("animals/birds")'),
        (
            "digits-in-columns",
            "np.reshape(np.uint8(pixels), (28, 28))",
            "np.reshape(np.uint8(pixels), (28, 28)).T",
        ),
    ),
    *_script(
        "gathering/ten_classes.py",
        EMOJI,
        ("left-out-tones-stay", 'one.name.partition("-1f3f")[0]', "one.name"),
    ),
    *in_file(
        "data/sets/twemoji.py",
        TWEMOJI,
        ("emoji-in-columns", ".swapaxes(1, 2)", ""),
        (
            "emoji-labels-by-turns",
            "np.repeat(np.arange(rows, dtype=np.int32), counts)",
            "np.concatenate([np.arange(n) for n in counts])",
        ),
        ("emoji-blanks-stay", "row[:n]", "row"),
    ),
)
