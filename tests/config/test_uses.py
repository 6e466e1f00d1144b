"""Settings that have no use beside the others."""

import fnmatch

import pytest
from ml_collections import ConfigDict

from maskgit_prompt.config import defaults, keys, uses
from maskgit_prompt.config.uses import USES, Use
from maskgit_prompt.errors import UsageError


def config_of(job: str, changes: dict) -> ConfigDict:
    config = defaults.JOBS[job]()
    config.update_from_flattened_dict(changes)
    return config


UNUSED = [
    ("sweep", {"train.ema_decay": 0.9}, {}, "a sweep keeps rows, not steps; leave it out"),
    ("sweep", {"train.evaluate_every": 5}, {}, "a sweep keeps rows, not steps; leave it out"),
    ("sweep", {"prompt.tokens": 3}, {}, "set config.sweep.tokens"),
    ("sweep", {"optimizer.learning_rate": 1.0}, {}, "set config.sweep.learning_rates and config."),
    ("sweep", {"protocol": "fact"}, {}, "a sweep counts the last step"),
    (
        "sweep",
        {"method": "linear", "sweep.tokens": (2,)},
        {},
        "to prompt or prompt_bias or prompt_cls",
    ),
    (
        "sweep",
        {"prompt.location": "add", "sweep.tokens": (2,)},
        {},
        "every token has its own vector, or all have one; leave it out",
    ),
    ("classify", {"prompt.location": "pad", "prompt.dropout": 0.1}, {}, "pixels are not dropped"),
    ("classify", {"prompt.location": "below", "prompt.deep": False}, {}, "to prepend or add or a"),
    (
        "classify",
        {"prompt.location": "pad"},
        {"encoder": "swin"},
        "config.prompt.location = 'pad' has no use with an encoder that is a swin",
    ),
    ("segment", {"data.path": "streets", "data.num": 9}, {}, "the folder has the images"),
    ("segment", {"head.doublings": 0, "head.hidden": 8}, {}, "config.head.doublings = 0"),
    ("classify", {"attention": "xla"}, {"encoder": "resnet"}, "it has none; leave it out"),
    (
        "classify",
        {"prompt.blocks": 2},
        {"encoder": "convnext"},
        "config.prompt.blocks = 2 has no use with an encoder that is a convnext",
    ),
    ("sweep", {"sweep.final": "train"}, {}, "or set config.data.name to tfds or vtab"),
    (
        "sweep",
        {"data.name": "tfds", "sweep.final": "train", "sweep.with_judge": False},
        {},
        "sweep.final says what they are",
    ),
    ("sweep", {"tasks": ("svhn",)}, {}, "or set config.data.name to vtab"),
    ("classify", {"lora.rank": 2}, {}, "or set config.method to lora"),
    ("classify", {"prompt.shared": True}, {"encoder": "swin"}, "it needs an encoder that is a vit"),
    ("run", {"download": True}, {}, "has no use with weights on this machine; it needs weights at"),
    ("run", {"download": True, "backbone": "models/taming-cin"}, {}, "weights on this machine; it"),
    ("import_weights", {"download": True, "source": "a,b"}, {}, "at an address or of a published"),
    ("side_by_side", {"download": True, "models.backbones": ("mini", "x")}, {}, "on this machine"),
    ("run", {"data.path": "photos"}, {}, "config.data.path = 'photos' has no use with config.data"),
    ("run", {"data.path": "photos"}, {}, "for a folder of images use --config=configs/folder.py:P"),
    ("run", {"data.strict": True}, {}, "config.data.strict = True has no use with config.data.nam"),
    ("run", {"data.name": "folder", "data.dataset": "svhn"}, {}, "or set config.data.name to tfds"),
    (
        "run",
        {"data.name": "folder", "data.split": "all"},
        {},
        "set config.data.name to tfds or vtab",
    ),
    (
        "run",
        {"data.name": "tfds", "data.fractions.tune": 0.5},
        {},
        "to digits or twemoji or folder",
    ),
    ("run", {"data.name": "tfds", "data.task": "svhn"}, {}, "set config.data.name to vtab"),
    ("run", {"data.flip": True}, {}, "config.data.views = 1; set config.data.views=8"),
    (
        "run",
        {"prompt.kind": "table", "prompt.factors": 3},
        {},
        "config.prompt.kind = 'table'; leave",
    ),
    ("run", {"prompt.kind": "table", "prompt.embedding": 8}, {}, "to factorized or additive"),
    ("run", {"prompt.dense": True}, {}, "set config.prompt.kind to additive"),
    (
        "run",
        {"prompt.instances": False, "score.marquee_images": 4},
        {},
        "config.prompt.instances to",
    ),
    ("run", {"score.marquee_images": 0, "score.marquee_cutoffs": (1,)}, {}, "another value than 0"),
    ("run", {"prompt.attention": "both"}, {"transformer": "masked"}, "needs a causal transformer"),
    (
        "run",
        {"masking.smoothing": 0.2},
        {"transformer": "causal"},
        "a causal transformer; use config.n",
    ),
    (
        "run",
        {"next_code.keep": 0.9},
        {"transformer": "masked"},
        "a masked transformer; use config.m",
    ),
    ("run", {"masking.drop_class": 0.1}, {}, "or set config.job to pretrain"),
    (
        "run",
        {"sample.steps": 3},
        {"transformer": "causal"},
        "a causal transformer; it draws code by code",
    ),
    ("run", {"sample.order": "random", "sample.choice_temperature": 1.0}, {}, "to confidence"),
    (
        "run",
        {"sample.guidance_from": "backbone"},
        {},
        "sample.guidance = 1.0; leave it out, or set",
    ),
    ("run", {"sample.guidance": 2.0, "sample.guidance_power": 2.0}, {}, "to power-cosine"),
    ("run", {"sample.guidance_end": 0.5}, {}, "config.sample.guidance = 1.0; leave it out, or set"),
    ("run", {"sample.entropy_bound": 2.0}, {}, "or set config.sample.sampler to entropy"),
    ("run", {"sample.remask": 0.5}, {}, "or set config.sample.sampler to remasking"),
    ("run", {"sample.window": 4}, {}, "or set config.sample.sampler to jacobi"),
    (
        "run",
        {"sample.sampler": "entropy", "sample.steps": 3},
        {},
        "config.sample.entropy_bound decides how many steps there are",
    ),
    ("run", {"sample.temperature": 0.0, "sample.top_k": 5}, {}, "another value than 0.0"),
    ("run", {"score.images": 9, "score.per_class": 5}, {}, "set config.score.images to 0"),
    ("run", {"optimizer.momentum": 0.5}, {}, "set config.optimizer.name to sgd"),
    ("run", {"optimizer.name": "sgd", "optimizer.b2": 0.9}, {}, "config.optimizer.name to adamw"),
    ("run", {"optimizer.backbone_learning_rate": 1e-4}, {}, "name what else is trained, as"),
    ("compare", {"data.shots": 3}, {}, "config.job = 'compare'; use config.compare.shots"),
    ("compare", {"trainable": (".*",)}, {}, "the methods set it; use config.compare.methods"),
    ("compare", {"compare.learning_rates.norm": 1e-2}, {}, "set config.compare.methods to norm"),
    ("side_by_side", {"backbone": "mini"}, {}, "use config.models.backbones"),
    ("side_by_side", {"data.shots": 3}, {}, "use config.models.shots"),
    (
        "side_by_side",
        {"causal.sample.guidance": 3.0},
        {"transformer": ("masked",)},
        "causal.sample.",
    ),
    ("vtab", {"data.path": "vtab-1k"}, {}, "configs/vpt_vtab.py reads such folders"),
    ("sweep", {"data.name": "vtab", "data.path": "a", "data.data_dir": "b"}, {}, "has the data"),
    ("vtab", {"data.task": "svhn"}, {}, "each task sets it; use config.tasks"),
    ("vtab", {"steps": 9, "train.steps": 3}, {}, "set config.steps to 0"),
    (
        "sample",
        {"keep": "left"},
        {},
        "config.keep = 'left' has no use with config.image = ''; give",
    ),
    ("sample", {"sample.cutoff": 0.5}, {"prompts": "one prompt"}, "a header of one prompt; take"),
    ("pretrain", {"stage": "features", "masking.shared": True}, {}, "config.stage to transformer"),
    ("pretrain", {"stage": "tokenizer", "model": "causal"}, {}, "config.stage = 'tokenizer'"),
    ("import_weights", {"format": "maskgit", "heads": 8}, {}, "set config.format to taming"),
    (
        "import_weights",
        {"format": "taming", "backbone": "mini"},
        {},
        "set config.format to maskgit",
    ),
    (
        "import_weights",
        {"format": "maskgit", "name": "x"},
        {"found": "a prompt"},
        "is a prompt; it",
    ),
]


@pytest.mark.parametrize(("job", "changes", "facts", "message"), UNUSED)
def test_a_setting_without_use_is_an_error(job, changes, facts, message):
    with pytest.raises(UsageError) as error:
        uses.check(config_of(job, changes), facts)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert str(error.value).startswith("config.") and " has no use with " in str(error.value)


@pytest.mark.parametrize(
    ("job", "changes", "facts"),
    [
        ("run", {"data.name": "folder", "data.path": "photos", "data.strict": True}, {}),
        ("run", {"data.views": 8, "data.flip": True}, {}),
        ("run", {"prompt.factors": 3, "prompt.embedding": 8}, {"transformer": "masked"}),
        ("run", {"prompt.kind": "table", "prompt.embedding": 0}, {}),
        ("run", {"masking.smoothing": 0.2, "sample.steps": 3}, {"transformer": "masked"}),
        ("run", {"masking.smoothing": 0.2}, {}),  # as long as the backbone is not known
        ("run", {"prompt.instances": False, "score.marquee_images": 0}, {}),
        (
            "run",
            {"trainable": ("prompt/.*", "transformer/.*"), "optimizer.backbone_learning_rate": 1.0},
            {},
        ),
        ("compare", {"data.shots": 0, "compare.learning_rates.full": 1e-2}, {}),
        # Of several models one that uses it is enough.
        ("side_by_side", {"masking.shared": True}, {"transformer": ("masked", "causal")}),
        (
            "side_by_side",
            {"sample.guidance_from": "backbone"},
            {"transformer": ("masked", "causal")},
        ),
        ("sample", {"sample.cutoff": 0.5}, {"prompts": "several prompts"}),
        ("sample", {"sample.choice_temperature": 1.0, "sample.guidance_from": "backbone"}, {}),
        ("sample", {"image": "a.png", "keep": "left"}, {}),
        ("import_weights", {"format": "maskgit", "backbone": "mini"}, {"found": "a prompt"}),
        ("run", {"download": True, "backbone": "taming-cin"}, {}),
        ("import_weights", {"download": True, "source": "a,gs://b/c"}, {}),
        ("import_weights", {"format": "maskgit", "download": True, "backbone": "taming-cin"}, {}),
        ("side_by_side", {"download": True, "models.backbones": ("mini", "https://h/x")}, {}),
    ],
)
def test_a_setting_with_a_use(job, changes, facts):
    uses.check(config_of(job, changes), facts)


def test_only_changes_count():
    config = config_of("sample", {"sample.cutoff": 0.5})
    uses.check(config, {"prompts": "one prompt"}, config)  # as the prompt file says


@pytest.mark.parametrize(
    ("use", "value", "holds"),
    [
        (Use(("k",), "x", values=(1, 2)), 2, True),
        (Use(("k",), "x", values=(1, 2)), 3, False),
        (Use(("k",), "x", values=(1, 2)), (3, 2), True),
        (Use(("k",), "x", unless=(0,)), 0, False),
        (Use(("k",), "x", unless=(0,)), (0, 5), True),
    ],
)
def test_when_a_use_holds(use, value, holds):
    assert use.holds(value) == holds


def test_every_use_is_of_keys_that_some_job_has():
    known = [key for make in defaults.JOBS.values() for key in keys.flat(make())]
    for use in USES:
        assert use.needs in (*known, *uses.FACTS)
        for pattern in use.keys:
            assert any(fnmatch.fnmatchcase(key, pattern) for key in known), pattern
