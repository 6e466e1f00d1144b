"""Wrong changes to segmenters: masks, heads, what is counted and what is shown."""

from tests.mutations.mutation import in_file

MASKS = ("tests/data/test_masks.py",)
HEAD = ("tests/models/test_segmentation_head.py",)
TASK = ("tests/tasks/segmentation/test_segmentation.py",)
COUNTS = ("tests/metrics/test_segmentation.py",)

MUTATIONS = (
    *in_file(
        "data/sets/scenes.py",
        MASKS,
        (
            "masks-name-the-colour-before",
            "1 + list(COLOURS).index(thing.colour)",
            "list(COLOURS).index(thing.colour)",
        ),
    ),
    *in_file(
        "data/sets/scene_masks.py",
        MASKS,
        ("masks-of-other-scenes", "lambda rows: masks[rows]", "lambda rows: masks[::-1][rows]"),
    ),
    *in_file(
        "data/sets/mask_folder.py",
        MASKS,
        ("masks-are-averaged", "Image.Resampling.NEAREST", "Image.Resampling.BOX"),
        ("sides-are-exchanged", "mask.shape[::-1]", "mask.shape"),
        ("colours-in-another-order", "colours[values] = number", "colours[values[::-1]] = number"),
    ),
    *in_file(
        "data/masks.py",
        MASKS,
        (
            "held-out-images-are-tuned-on",
            "np.sort(order[held:]), np.sort(order[:held])",
            "np.sort(order), np.sort(order[:held])",
        ),
    ),
    *in_file(
        "models/vit.py",
        HEAD,
        ("patches-are-those-in-front", "x[:, -self.cfg.length :]", "x[:, : self.cfg.length]"),
    ),
    *in_file(
        "models/segmentation_head.py",
        HEAD,
        ("pixels-are-repeated", '"linear")', '"nearest")'),
        ("stages-keep-the-side", "enlarged(x, 2 * x.shape[1])", "enlarged(x, x.shape[1])"),
    ),
    *in_file(
        "metrics/segmentation.py",
        COUNTS,
        ("ignored-pixels-count", "counted = masks != ignored", "counted = masks >= 0"),
        ("union-counts-both-twice", "confusion.sum(1) - np.diag(confusion)", "confusion.sum(1)"),
        ("missing-classes-count-as-nothing", "if one is not None", "if one"),
    ),
    *in_file(
        "tasks/segmentation/model.py",
        TASK,
        ("loss-of-ignored-pixels", "jnp.where(counted, x, 0)", "jnp.where(masks >= 0, x, 0)"),
    ),
    *in_file(
        "tasks/segmentation/tuning.py",
        TASK,
        ("masks-of-other-rows", "data.masks(chosen)", "data.masks(chosen[::-1])"),
    ),
    *in_file(
        "tasks/segmentation/pictures.py",
        TASK,
        ("ignored-pixels-are-covered", "np.where(kept, images,", "np.where(kept, mixed,"),
    ),
)
