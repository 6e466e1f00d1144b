"""Wrong changes to drawn scenes: what is where, what is said of it, which scenes are held out."""

from tests.mutations.mutation import in_file

SCENES = ("tests/data/sets/test_scenes.py",)
CELLS = ("tests/data/sets/test_scene_cells.py",)
TEXTS = ("tests/data/sets/test_scene_texts.py",)

MUTATIONS = (
    *in_file(
        "data/sets/scenes.py",
        SCENES,
        ("scenes-of-one-seed", "key=(seed << 64) | number", "key=number"),
        ("things-touch", "_GAP = 2", "_GAP = 0"),
        ("left-for-right", 'return "left"\n', 'return "right"\n'),
        ("place-without-a-doubt", "abs(across) >= 1.5 * abs(down)", "abs(across) >= abs(down)"),
        ("place-of-one-for-all", "if len(found) == 1 else None", "if found else None"),
        ("boxes-of-the-grid", "scale = side / GRID", "scale = 1"),
        ("one-pixel-too-far", "(opposite - corner - 1)", "(opposite - corner)"),
        ("ground-upside-down", "np.linspace(*scene.ground,", "np.linspace(*scene.ground[::-1],"),
        ("every-shade-the-same", "fill=thing.rgb or COLOURS", "fill=COLOURS"),
    ),
    *in_file(
        "data/sets/scene_cells.py",
        CELLS,
        ("cells-transposed", "area = high[:, None] * wide", "area = wide[:, None] * high"),
        ("the-first-thing-stays", "covered[most] = area[most]", "covered[most] = side**2"),
        ("names-counted-from-nothing", "[1 + known.index(name)", "[known.index(name)"),
        ("edges-in-pixels", "np.array(thing.box) / scene.side", "np.array(thing.box)"),
    ),
    *in_file(
        "data/sets/scene_captions.py",
        TEXTS,
        (
            "groups-of-a-colour",
            "setdefault((thing.colour, thing.shape)",
            "setdefault((thing.colour, 0)",
        ),
        ("groups-as-drawn", "sorted(scene.things, key=lambda thing: thing.box)", "scene.things"),
        ("nominative-after-a-preposition", "language.join(rest, True)", "language.join(rest)"),
        ("first-caption-always", "first = int(np.random", "first = 0 * int(np.random"),
        (
            "an-before-every-colour",
            "'an' if name[0] in 'aeiou' else 'a'",
            "'an' if colour else 'a'",
        ),
    ),
    *in_file(
        "data/sets/scene_questions.py",
        TEXTS,
        ("question-tells-its-answer", "names(scene, thing, asked)]", "names(scene, thing)]"),
        ("name-of-several", "        if not alike:\n", "        if True:\n"),
        ("outermost-by-a-pixel", "margin = scene.side / 16", "margin = 0"),
        (
            "outermost-by-its-edge",
            "way * (thing.centre[axis] - other.centre[axis]) >= margin",
            "True",
        ),
        ("lowest-for-topmost", '"topmost": (1, -1)', '"topmost": (1, 1)'),
        (
            "box-of-the-first-thing",
            "every = [(name, thing.box)",
            "every = [(name, scene.things[0].box)",
        ),
        ("kind-decides-the-answer", "own = int(rng.integers(2**63))", "own = seed"),
        ("absent-by-parts-alone", "absent and rng.random() < 0.6", "False"),
        ("absent-is-there", "if not scene.matching(None, *pair)", "if True"),
        ("yes-for-no", 'rng, label == "yes")', 'rng, label == "no")'),
        ("opposite-of-what-is-right", "where if right else PLACES[where]", "where"),
        ("hidden-behind-a-star", "if t.shape in _COVERS]", "if t]"),
        ("hidden-behind-a-small-thing", 'scene.matching("big") if', "scene.matching() if"),
    ),
    *in_file(
        "data/sets/scene_tasks.py",
        SCENES,
        ("held-out-scenes-are-tuned-on", '(split == "test")', '(split != "test")'),
        (
            "pictures-of-other-scenes",
            "make_scene(seed, drawn[index], side)",
            "make_scene(seed, index, side)",
        ),
        (
            "fingerprint-without-the-version-of-scenes",
            "json.dumps([VERSION, makers",
            "json.dumps([makers",
        ),
        ("fingerprint-without-scenes", "list(found.items())]", "num, split]"),
    ),
)
