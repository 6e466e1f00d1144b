"""Wrong changes of the task on images and texts, and of pretraining for it."""

from tests.mutations.mutation import in_file

ROOM = "tests/tasks/multimodal/"
ASKED = (f"{ROOM}test_asked.py",)
BATCHES = (f"{ROOM}test_batches.py",)
MODEL = (f"{ROOM}test_model.py",)
PLAN = (f"{ROOM}test_plan.py",)
ANSWERING = (f"{ROOM}test_answering.py",)
SCENES = ("tests/tasks/pretraining/test_scenes.py",)
CELLS = ("tests/tasks/pretraining/test_cells.py",)
SCORES = ("tests/metrics/test_answered.py",)

MUTATIONS = (
    *in_file(
        "tasks/multimodal/asked.py",
        ASKED,
        (
            "boxes-of-the-networks-image",
            "words.box(meant[i], examples.sizes[i], side)",
            "words.box(meant[i], examples.sizes[i], 64)",
        ),
        (
            "the-first-answer-alone-is-looked-up",
            "if not holds(trie, ids[:-1])",
            "if ids is targets[-1][0] and not holds(trie, ids[:-1])",
        ),
    ),
    *in_file(
        "tasks/multimodal/batches.py",
        BATCHES,
        (
            "pictures-of-other-rows",
            '"images": self._pictures(rows)',
            '"images": self._pictures(rows[::-1])',
        ),
        ("always-the-first-answer", "rng.choice(len(targets), p=weights / weights.sum())", "0"),
        ("halves-interleaved", "np.concatenate([x, x])", "np.repeat(x, 2, axis=0)"),
    ),
    *in_file(
        "tasks/multimodal/model.py",
        MODEL,
        ("adapters-of-the-other-stack", 'tree["adapter"][stack]', 'tree["adapter"]["encoder"]'),
        (
            "targets-seen-before-they-are-told",
            "jnp.pad(target[:, :-1], [(0, 0), (1, 0)]",
            "jnp.pad(target[:, 1:], [(0, 0), (0, 1)]",
        ),
        ("padding-is-learned", "(target != PAD).astype", "(target != target - 1).astype"),
        ("pictures-that-are-not-there", 'valid=batch.get("there")', "valid=None"),
    ),
    *in_file(
        "tasks/multimodal/plan.py",
        PLAN,
        (
            "bins-and-one-more",
            "IdRange(layout.first_bin, layout.size)",
            "IdRange(layout.first_bin - 1, layout.size)",
        ),
        (
            "the-set-from-what-is-held-out",
            "answers = closed_answers(config, goal, tune)",
            "answers = closed_answers(config, goal, test)",
        ),
    ),
    *in_file(
        "tasks/multimodal/finding.py",
        PLAN,
        (
            "held-out-for-tuned",
            "order[count:])), examples.subset(np.sort(order[:count]))",
            "order[:count])), examples.subset(np.sort(order[count:]))",
        ),
    ),
    *in_file(
        "tasks/multimodal/answering.py",
        ANSWERING,
        ("everyones-prefix-is-the-first", "prefixes=prefixes[rows]", "prefixes=prefixes[0 * rows]"),
        (
            "questions-of-other-rows",
            "pictures(rows), sources[rows]",
            "pictures(rows), sources[::-1][rows]",
        ),
    ),
    *in_file(
        "tasks/pretraining/scenes.py",
        SCENES,
        (
            "training-on-what-is-held-out",
            "self._numbers = corpus.numbers(held=False)",
            "self._numbers = corpus.numbers(held=True)",
        ),
        (
            "texts-with-pictures",
            "return Shown(number, scene, not alone,",
            "return Shown(number, scene, True,",
        ),
        (
            "scenes-of-all-sizes-at-once",
            "if len(scene.things) > most:",
            "if len(scene.things) > 9:",
        ),
    ),
    *in_file(
        "tasks/pretraining/cells.py",
        CELLS,
        ("edges-of-the-ground", "seen * (names[..., 0] > 0)", "seen"),
        (
            "cells-without-an-image",
            "there[:, None], names.shape",
            "there[:, None] | True, names.shape",
        ),
    ),
    *in_file(
        "metrics/answered.py",
        SCORES,
        ("boxes-that-overlap-at-all", "overlaps >= boxes.ENOUGH", "overlaps > 0"),
        (
            "captions-lead-with-exact-ones",
            "for name, measure in measures.items()} | values",
            "for name, measure in measures.items()} and values",
        ),
    ),
)
