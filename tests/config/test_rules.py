"""Values out of range: every number of every job, choices by the rooms that own them."""

import math

import pytest
from ml_collections import ConfigDict

from maskgit_prompt.config import defaults, keys, rules
from maskgit_prompt.errors import UsageError

NUMBERS = [
    (job, key, type(value))
    for job, make in defaults.JOBS.items()
    for key, value in keys.flat(make()).items()
    if isinstance(value, int | float) and not isinstance(value, bool)
]


def config_of(job: str, **changes) -> ConfigDict:
    config = defaults.JOBS[job]()
    if job == "import_weights":
        config.format = "taming"
    config.update_from_flattened_dict(changes)
    return config


def refusal(job: str, **changes) -> str:
    with pytest.raises(UsageError) as error:
        rules.check(config_of(job, **changes))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("job", defaults.JOBS)
def test_defaults_keep_the_rules(job):
    rules.check(config_of(job))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e39])
@pytest.mark.parametrize(
    ("job", "key"), [(job, key) for job, key, kind in NUMBERS if kind is float]
)
def test_every_float_is_finite(job, key, bad):
    with pytest.raises(UsageError):
        rules.check(config_of(job, **{key: bad}))


MAY_BE_NEGATIVE = ("mesh.data", "mesh.fsdp", "mesh.tensor")  # make_mesh knows the devices
OF_THE_PROMPT = ("prompt.embedding", "prompt.factors", "prompt.hidden", "prompt.tokens")


@pytest.mark.parametrize(("job", "key"), [(job, key) for job, key, kind in NUMBERS if kind is int])
def test_every_whole_number_has_a_range(job, key):
    assert f"config.{key} = {2**64}, expected" in refusal(job, **{key: 2**64})
    if key not in MAY_BE_NEGATIVE + OF_THE_PROMPT:
        assert "-2" in refusal(job, **{key: -2})


@pytest.mark.parametrize(
    ("job", "key", "value", "message"),
    [
        (
            "run",
            "masking.schedule",
            "cosin",
            "config.masking.schedule = 'cosin', expected cosine, li",
        ),
        ("run", "masking.schedule", "pow0", "config.masking.schedule = 'pow0', expected cosine"),
        ("run", "seed", -1, "config.seed = -1, expected 0 or more, and below 2**32 - 256"),
        ("run", "data.seed", 2**32, "and below 2**32 - 256"),
        ("run", "sample.guidance", math.nan, "config.sample.guidance = nan, expected a finite num"),
        ("run", "sample.temperature", math.inf, "config.sample.temperature = inf, expected a fini"),
        ("run", "train.batch_size", 0, "config.train.batch_size = 0, expected at least 1"),
        ("run", "sample.batch_size", 0, "config.sample.batch_size = 0, expected at least 1"),
        ("run", "data.fractions.tune", 0.0, "tune = 0.0, expected above 0, and at most 1"),
        ("run", "data.fractions.judge", -0.5, "judge = -0.5, expected above 0, and at most 1"),
        ("run", "data.crop", 1.0, "config.data.crop = 1.0, expected 0 or more, and below 1"),
        (
            "run",
            "data.name",
            "folders",
            "= 'folders', expected digits, twemoji, folder",
        ),
        ("run", "data.classes", (1.1,), "config.data.classes = (1.1,), expected names in quotes"),
        ("run", "data.classes", ("",), "expected names in quotes, each"),
        ("run", "score.marquee_cutoffs", ("a",), "= ('a',), expected above 0, and at most 1, each"),
        ("run", "score.marquee_cutoffs", (0.5, math.nan), "expected above 0, and at most 1, each"),
        ("run", "score.marquee_cutoffs", (True,), "expected above 0, and at most 1, each"),
        ("run", "trainable", (), "config.trainable = (), expected some patterns"),
        ("run", "trainable", (3,), "config.trainable = (3,), expected a path pattern, each"),
        ("run", "optimizer.eps", 0.0, "config.optimizer.eps = 0.0, expected a number above 0"),
        ("run", "optimizer.name", "adam", "config.optimizer.name = 'adam', expected adamw or sgd"),
        ("compare", "compare.shots", (), "config.compare.shots = (), expected some, each once"),
        ("compare", "compare.shots", (2, 2), "expected some, each once"),
        ("compare", "compare.shots", (2, "x"), "expected at least 1, each"),
        ("compare", "compare.methods", ("prompt", "lora"), "expected prompt, full, scratch, head,"),
        ("compare", "compare.learning_rates.full", 0.0, "full = 0.0, expected a number above 0"),
        ("side_by_side", "models.backbones", ("mini", "mini"), "expected some, each once"),
        ("side_by_side", "models.shots", (0,), "config.models.shots = (0,), expected at least 1"),
        ("side_by_side", "causal.next_code.keep", 1.5, "config.causal.next_code.keep = 1.5, expec"),
        (
            "sample",
            "sample.top_p",
            1.5,
            "config.sample.top_p = 1.5, expected a number above 0, at most 1",
        ),
        ("sample", "num", 0, "config.num = 0, expected at least 1"),
        ("sample", "header", ("",), "config.header = ('',), expected a name, each"),
        (
            "pretrain",
            "stage",
            "text",
            "config.stage = 'text', expected tokenizer, transformer, feat",
        ),
        ("pretrain", "store_dtype", "int8", "expected float32, bfloat16, float16"),
        (
            "import_weights",
            "format",
            "gan",
            "config.format = 'gan', expected convnext, inception",
        ),
        ("import_weights", "heads", -1, "config.heads = -1, expected 0 or more"),
        ("vtab", "steps", -1, "config.steps = -1, expected 0 or more"),
    ],
)
def test_a_value_out_of_range_is_named(job, key, value, message):
    assert message in refusal(job, **{key: value})


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("seed", None, "a whole number"),
        ("seed", 1.5, "a whole number"),
        ("seed", True, "a whole number"),
        ("data.path", 3, "text"),
        ("data.flip", 1, "True or False"),
        ("sample.guidance", "2", "a number"),
        ("data.classes", "cat", "a tuple"),
        ("trainable", None, "a tuple"),
    ],
)
def test_a_config_file_may_set_any_type(key, value, expected):
    section, _, leaf = key.rpartition(".")
    config = defaults.transfer()
    with config.ignore_type():
        (config[section] if section else config)[leaf] = value
    with pytest.raises(UsageError) as error:
        rules.check(config)
    assert str(error.value) == f"config.{key} = {value!r}, expected {expected}"


@pytest.mark.parametrize(
    ("job", "changes"),
    [
        ("run", {"seed": 2**31, "data.seed": 2**32 - 257}),
        ("run", {"masking.schedule": "pow2.5", "sample.schedule": "log", "data.classes": (7, "a")}),
        ("run", {"score.marquee_cutoffs": (1,), "train.show_every": 0, "optimizer.clip": 0.0}),
        ("sample", {"sample.guidance": -3.0, "sample.temperature": 0.0}),
    ],
)
def test_values_at_the_edge_are_taken(job, changes):
    rules.check(config_of(job, **changes))


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/codes"])
def test_codes_folders_that_cannot_be_written(place, tmp_path):
    (tmp_path / "file").write_text("")
    said = refusal("run", **{"data.codes": str(tmp_path / place)})  # /proc/codes stays as it is
    assert said.startswith(f"config.data.codes = {str(tmp_path / place)!r}")
    assert "is a file, expected a folder" in said or "cannot be written: " in said


def test_looking_at_a_codes_folder_leaves_nothing(tmp_path):
    rules.check(config_of("run", **{"data.codes": str(tmp_path / "new" / "codes")}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("codes", ["photos", "photos/codes", "photos/../photos/a/b"])
def test_codes_among_the_images_are_refused(codes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = defaults.folder(defaults.transfer(), "photos", "folder.py")
    config.data.codes = codes
    with pytest.raises(UsageError, match="lies in the folder of images, expected a folder of its"):
        rules.check(config)
    config.data.codes = "photos codes"
    rules.check(config)
