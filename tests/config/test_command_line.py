"""The command line: config files, keys by the name that was meant, values, paths."""

import os
import pathlib
import shutil

import pytest

from maskgit_prompt.config import command_line, defaults, keys
from maskgit_prompt.errors import UsageError

ROOT = pathlib.Path(__file__).parents[2]
QUICKSTART = f"--config={ROOT}/configs/quickstart.py"


def parsed(*flags: str):
    """(config, workdir) of flags, with a workdir where they name none."""
    workdir = () if any(flag.startswith("--workdir") for flag in flags) else ("--workdir=w",)
    return command_line.parse(["main", *flags, *workdir])


def refusal(*flags: str) -> str:
    with pytest.raises(UsageError) as error:
        parsed(*flags)
    assert "\n" not in str(error.value)
    return str(error.value)


# --- Keys -----------------------------------------------------------------------------------------

KEYS = ("prompt.tokens", "sample.steps", "seed", "train.steps", "optimizer.learning_rate")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("steps", ["train.steps", "sample.steps"]),
        ("train.stepz", ["train.steps"]),
        ("lr", ["optimizer.learning_rate"]),
        ("train.lr", ["optimizer.learning_rate"]),
        ("optimizer.learning-rate", ["optimizer.learning_rate"]),
        ("learning_rat", ["optimizer.learning_rate"]),
        ("tokens", ["prompt.tokens"]),
        ("prompt.length", ["prompt.tokens"]),
        ("random_seed", ["seed"]),
        ("wd", []),  # weight_decay is not among these keys
        ("xyzzy", []),
    ],
)
def test_the_key_that_was_meant(name, found):
    assert keys.meant(name, KEYS) == found


def test_nicknames_are_of_keys_that_some_job_has():
    known = set().union(*(keys.flat(make()) for make in defaults.JOBS.values()))
    assert set(keys.NICKNAMES.values()) <= known
    assert set(keys.NAMES) <= known


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        (
            "--config.steps=9",
            "has no key steps; did you mean config.train.steps or config.sample.steps?",
        ),
        ("--config.lr=9", "has no key lr; did you mean config.optimizer.learning_rate?"),
        ("--config.temperature=9", "temperature; did you mean config.sample.temperature?"),
        ("--config.shots", "has no key shots; did you mean config.data.shots?"),
        ("--config.optimiser.clip=0", "did you mean config.optimizer.clip?"),
        ("--noconfig.data.flipp", "has no key data.flipp; did you mean config.data.flip?"),
        ("--config.mesh.gpus=2", "has no key mesh.gpus; config.mesh has data, fsdp, tensor"),
        (
            "--lr=9",
            "Unknown command line flag 'lr'; did you mean --config.optimizer.learning_rate?",
        ),
        ("--train_steps=9", "did you mean --config.train.steps?"),
        ("--config.train.steps=1e3", "config.train.steps = '1e3', expected a whole number"),
        ("--config.data.flip=3", "config.data.flip = '3', expected True or False"),
        ("--config.sample.guidance=x", "config.sample.guidance = 'x', expected a number"),
    ],
)
def test_a_flag_that_is_wrong_names_the_right_one(flag, message):
    assert message in refusal(QUICKSTART, flag)


@pytest.mark.parametrize(
    ("file", "job", "message"),
    [
        (
            "quickstart.py",
            "sample",
            "is a config of the job 'run': it has no config.classes; use --",
        ),
        (
            "sample.py",
            "run",
            "of the job 'sample': it has no config.data.classes; use --config=con",
        ),
        (
            "vtab.py",
            "run",
            "it sets config.steps, which 'run' does not know; use --config=configs/",
        ),
        (
            "quickstart.py",
            "compare",
            "it has no config.compare.learning_rates.bias; use --config=c",
        ),
        ("quickstart.py:compare", "vtab", "of the job 'compare'"),
        ("import.py", "pretrain", "it has no config.adversarial.adaptive; use --config=c"),
    ],
)
def test_a_config_of_another_job(file, job, message):
    said = refusal(f"--config={ROOT}/configs/{file}", f"--config.job={job}")
    assert said.startswith(f"config.job = '{job}', but {ROOT}/configs/{file} is a config")
    assert message in said


def write_config(path: pathlib.Path, *lines: str) -> str:
    body = "".join(f"    {line}\n" for line in lines)
    text = "from maskgit_prompt import config as defaults\n\n\ndef get_config():\n"
    path.write_text(f"{text}    config = defaults.transfer()\n{body}    return config\n")
    return f"--config={path}"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "config.data.shotz = 3",
            "sets config.data.shotz, which the job 'run' does not know; did you",
        ),
        (
            "config.lr = 0.1",
            "config.lr, which the job 'run' does not know; did you mean config.opt",
        ),
        ("config.optimizer.x = True", "; config.optimizer has b1, b2, backbone_learning_rate, cl"),
        (
            "del config.masking",
            "has no config.masking.drop_class, which the job 'run' needs; begin",
        ),
        (
            "config.job = 'dream'",
            "config.job = 'dream', expected run, classify, segment, masks, vtab, vtab_folder,",
        ),
        ("config.train.steps = 'many'", "many is of original type <class 'str'>"),
    ],
)
def test_a_key_inside_a_config_file(line, message, tmp_path):
    assert message in refusal(write_config(tmp_path / "my.py", line))


def test_a_key_inside_a_config_file_by_the_name_it_had_once(tmp_path, capsys):
    file = write_config(tmp_path / "my.py", "config.source = 'mini'", "config.job = 'transfer'")
    config, _ = parsed(file)
    assert (config.backbone, config.job, "source" in config) == ("mini", "run", False)
    assert capsys.readouterr().err == (
        f"note: {tmp_path}/my.py: config.source is called config.backbone now\n"
    )


@pytest.mark.parametrize("flag", ["--config.data=photos", "--config.train=3", "--config.prompt=x"])
def test_a_group_of_keys_has_no_value_of_its_own(flag):
    group = flag.partition("=")[0]
    with pytest.raises(
        UsageError, match=rf"{group} is a group of keys: give one of them, as {group}\."
    ):
        command_line.parse(["", "--config=configs/quickstart.py", "--workdir=x", flag])


# --- Values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "classes"),
    [
        (("1.10",), ("1.10",)),
        (("7", "007"), ("7", "007")),
        (("big cat",), ("big cat",)),
        (("'big cat'",), ("big cat",)),
        (("('a', 'b')", "c"), ("a", "b", "c")),
        (("('a', 1.10, 007)", "[2, 'b']"), ("('a', 1.10, 007)", "2", "b")),  # 007 is not Python
        (("('a', 1.10)", " 1.10", "-0"), ("a", "1.10", " 1.10", "-0")),
        (("None", "1e5", "True"), ("None", "1e5", "True")),
        (("it's", "a,b"), ("it's", "a,b")),
    ],
)
def test_names_stay_as_they_are_written(given, classes):
    config, _ = parsed(QUICKSTART, *(f"--config.data.classes={name}" for name in given))
    assert config.data.classes == classes


def test_forms_of_a_flag():
    config, _ = parsed(
        "--config",
        f"{ROOT}/configs/quickstart.py:compare",
        "--config.train.steps",
        "3",
        "--config.data.flip",
        "--noconfig.train.tensorboard",
        "--config.compare.shots=5",
        "--config.compare.shots=10",
        "--config.data.classes",
        "3",
    )
    assert config.train.steps == 3 and config.data.flip and not config.train.tensorboard
    assert config.compare.shots == (5, 10) and config.data.classes == ("3",)


# --- Config files ---------------------------------------------------------------------------------


def test_configs_are_found_outside_of_the_clone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config, _ = parsed("--config=configs/quickstart.py:full")
    assert config.data.shots == 0
    # A file of the working folder comes first.
    (tmp_path / "configs").mkdir()
    write_config(tmp_path / "configs" / "quickstart.py", "config.seed = 9")
    assert parsed("--config=configs/quickstart.py")[0].seed == 9
    assert parsed("--config=configs/folder.py:photos")[0].data.path == "photos"
    said = refusal("--config=configs/nope.py")
    assert f"no config file configs/nope.py in {tmp_path}" in said and "folder.py, imagenet" in said
    assert "no config file quickstart.py in" in refusal("--config=quickstart.py")


def test_configs_inside_an_installed_package_come_first(tmp_path, monkeypatch):
    package = tmp_path / "site" / "maskgit_prompt"
    shutil.copytree(ROOT / "configs", package / "configs")
    monkeypatch.setattr(command_line.maskgit_prompt, "__file__", str(package / "__init__.py"))
    monkeypatch.chdir(tmp_path)
    assert command_line.find("configs/sample.py") == str(package / "configs" / "sample.py")


# --- Paths ----------------------------------------------------------------------------------------


def test_a_tilde_in_every_path(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    flags = ("data.path", "data.csv", "data.codes", "data.data_dir", "backbone")
    config, workdir = parsed(QUICKSTART, *(f"--config.{key}=~/x" for key in flags), "--workdir=~/w")
    assert workdir == "/home/me/w"
    assert [keys.flat(config)[key] for key in flags] == ["/home/me/x"] * 5
    sample, _ = parsed(
        f"--config={ROOT}/configs/sample.py", "--config.prompt=~", "--config.image=~/i"
    )
    assert (sample.prompt, sample.image) == ("/home/me", "/home/me/i")
    given, _ = parsed(f"--config={ROOT}/configs/import.py", "--config.source=~/a,b/~,~/c")
    assert given.source == "/home/me/a,b/~,/home/me/c"
    side, _ = parsed(f"{QUICKSTART}:digits,causal", "--config.models.backbones=('mini','~/m')")
    assert side.models.backbones == ("mini", "/home/me/m")


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        (
            "--workdir=gs://bucket/run",
            "--workdir = 'gs://bucket/run' is an address, expected a path",
        ),
        ("--workdir=gs://bucket/run", "launch/tpu_vm.sh --store=gs://BUCKET/NAME.tar.gz keeps the"),
        ("--workdir=s3:/bucket", "is an address"),
        ("--workdir= ", "--workdir = ' ' is blank, expected a path"),
        ("--workdir=", "no --workdir given"),
        (
            "--config.data.path=gs://b/x",
            "config.data.path = 'gs://b/x' is an address, expected a pa",
        ),
        ("--config.data.path=https://x.org/a.zip", "copy it first, as gcloud storage cp -r"),
        ("--config.data.codes=gs://b/codes", "config.data.codes = 'gs://b/codes' is an address"),
        ("--config.data.csv=file:///x.csv", "is an address, expected a path on this machine"),
        (
            "--config.backbone=s3://b/x",
            "config.backbone = 's3://b/x' is an address, expected https://, gs:// or a path on thi",
        ),
        ("--config.backbone=gs://b", "config.backbone: 'gs://b' names a bucket but no file in it"),
        ("--config.backbone=https://", "config.backbone: 'https://' is not an address, expected"),
        ("--config.data.codes=\t", "config.data.codes = '\\t' is blank"),
        ("--config.data.path=~nobody-here/x", "there is no user 'nobody-here'; write the path out"),
    ],
)
def test_what_is_not_a_path_of_this_machine(flag, message):
    assert message in refusal(QUICKSTART, flag)


def test_what_only_looks_like_an_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("~cats")
    flags = ("--config.data.data_dir=gs://tfds-data/datasets", "--config.data.path=~cats")
    config, workdir = parsed(QUICKSTART, *flags, "--workdir=C:/runs")
    assert config.data.data_dir == "gs://tfds-data/datasets"  # TFDS reads buckets itself
    assert (config.data.path, workdir) == ("~cats", "C:/runs")


def test_addresses_that_are_fetched(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    config, _ = parsed(QUICKSTART, "--config.backbone=https://host/~me/model?dl=1")
    assert config.backbone == "https://host/~me/model?dl=1"
    given, _ = parsed(f"--config={ROOT}/configs/import.py", "--config.source=gs://b/c,~/d")
    assert given.source == "gs://b/c,/home/me/d"
    side, _ = parsed(f"{QUICKSTART}:digits,causal", "--config.models.backbones=('gs://b/~','~/m')")
    assert side.models.backbones == ("gs://b/~", "/home/me/m")


def test_no_epochs_are_not_a_hundred_thousand_steps():
    found = refusal(f"--config={ROOT}/configs/classify.py:photos,epochs=0")
    assert "classify.py:photos,epochs=0 has 'epochs=0', expected 1 or more" in found
    counted, _ = parsed(f"--config={ROOT}/configs/classify.py:photos", "--config.train.epochs=0")
    assert (counted.train.epochs, counted.train.steps) == (0.0, 100_000)
