"""What the documents promise is there: keys, commands, files, numbers."""

import pathlib
import re
import shlex

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from maskgit_prompt import params
from maskgit_prompt.backbones import abstract
from maskgit_prompt.config import (
    classification,
    command_line,
    defaults,
    evaluation,
    multimodal,
    named_data,
    rules,
    segmentation,
    studies,
)
from maskgit_prompt.config.pretraining import pretrain
from maskgit_prompt.data import loading, splits
from maskgit_prompt.errors import UsageError
from maskgit_prompt.importers.published import PUBLISHED
from maskgit_prompt.metrics import measures, reconstruction
from maskgit_prompt.models.prompt import PromptConfig, PromptGenerator

ROOT = pathlib.Path(__file__).parent.parent
DOCUMENTS = sorted(
    [ROOT / "README.md", ROOT / "launch" / "README.md", *(ROOT / "docs").glob("*.md")]
)
CONFIGS = sorted((ROOT / "configs").glob("*.py"))


# --- Every key of every configuration is explained -----------------------------------------------


def keys_of(config: ConfigDict) -> set[str]:
    """ConfigDict(a=1, b=ConfigDict(c=2)) has the keys "a" and "b.c"."""
    return {name.replace("/", ".") for name in params.flatten(config.to_dict())}


def explained() -> set[str]:
    files = ("configuration.md", "backbones.md")
    text = "".join((ROOT / "docs" / file).read_text() for file in files)
    return set(re.findall(r"`([a-z_0-9.]+)`", text))


def shipped(file: str, argument: str | None) -> ConfigDict:
    value = str(ROOT / "configs" / file) + ("" if argument is None else f":{argument}")
    return parse([f"--config={value}"])


def parse(arguments: list[str]) -> ConfigDict:
    """The config that the command line of maskgit_prompt.main with these flags has."""
    workdir = [] if any(flag.startswith("--workdir") for flag in arguments) else ["--workdir=w"]
    config, _ = command_line.parse(["main", *arguments, *workdir])
    return config


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(defaults.transfer(), id="transfer"),
        pytest.param(defaults.compare(defaults.transfer()), id="compare"),
        pytest.param(defaults.sample(), id="sample"),
        pytest.param(pretrain("tokenizer"), id="pretrain"),
        pytest.param(defaults.import_weights(), id="import_weights"),
        pytest.param(classification.sweep(), id="sweep"),
        pytest.param(segmentation.segment(), id="segment"),
        pytest.param(segmentation.masks(), id="masks"),
        pytest.param(evaluation.evaluate(), id="evaluate"),
        pytest.param(studies.sample_study(), id="sample_study"),
        pytest.param(classification.predict(), id="predict"),
        pytest.param(classification.robustness(), id="robustness"),
        pytest.param(multimodal.ask(), id="multimodal"),
        pytest.param(multimodal.answer(), id="answer"),
        pytest.param(multimodal.attack(), id="attack"),
    ],
)
def test_every_default_key_is_explained(config):
    assert len(keys_of(config)) > 8
    assert keys_of(config) - explained() == set()


@pytest.mark.parametrize(
    ("file", "argument"),
    [
        ("quickstart.py", None),
        ("quickstart.py", "compare"),
        ("folder.py", "PATH"),
        ("vtab.py", None),
        ("vtab.py", "natural,dmlab,shots=5,steps=9,split=train800"),
        ("fewshot.py", "imagenette,shots=5"),
        ("fewshot.py", "animal-faces,path=PATH"),
        ("sample.py", None),
        ("mini.py", "tokenizer"),
        ("mini.py", "transformer"),
        ("mini.py", "features"),
        ("import.py", None),
        ("imagenet256.py", "PATH"),
        ("imagenet512.py", "PATH"),
        ("vpt_vtab.py", "dmlab,folder=PATH,settings=vpt-demo"),
        ("vpt_fgvc.py", "PATH,cub,epochs=5"),
        ("vtab_folder.py", "svhn"),
    ],
)
def test_every_key_of_a_shipped_config_is_explained(file, argument):
    assert keys_of(shipped(file, argument)) - explained() == set()


def test_no_key_is_explained_that_does_not_exist():
    known = set()
    for config in (
        defaults.compare(defaults.transfer()),
        named_data.vtab(defaults.transfer(), "", "vtab.py"),
        defaults.sample(),
        defaults.import_weights(),
        *(shipped("mini.py", stage) for stage in ("tokenizer", "transformer", "features")),
        shipped("mini64.py", "encoder"),
        evaluation.evaluate(),
        studies.sample_study(),
        classification.sweep(),
        classification.predict(),
        classification.robustness(),
        segmentation.segment(),
        segmentation.masks(),
        multimodal.ask(),
        multimodal.answer(),
        multimodal.attack(),
    ):
        known |= keys_of(config)
    sections = {name.partition(".")[0] for name in known if "." in name}
    named = {name for name in explained() if name.partition(".")[0] in sections and "." in name}
    assert len(named) > 50
    assert named - known == set()


def test_defaults_are_as_the_document_says():
    config = defaults.transfer()
    text = (ROOT / "docs" / "configuration.md").read_text().partition("## The comparison")[0]
    rows = re.findall(r"^\| `([a-z_0-9.]+)` \| `?([^`|]+)`? \|", text, re.M)
    said = {key: value.strip() for key, value in rows}
    flat = {k.replace("/", "."): v for k, v in params.flatten(config.to_dict()).items()}
    checked = 0
    for key, value in flat.items():
        if key in said and isinstance(value, bool | int | float):
            assert float({"True": 1, "False": 0}.get(said[key], said[key])) == value, key
            checked += 1
    assert checked > 40
    assert said["prompt.kind"] == config.prompt.kind
    assert said["masking.schedule"] == config.masking.schedule


# --- Every command parses ------------------------------------------------------------------------


def commands() -> list[tuple[str, list[str]]]:
    """(document, flags) of each `python -m maskgit_prompt.main …` in documents and configs."""
    found = []
    for path in [*DOCUMENTS, *CONFIGS]:
        text = path.read_text().replace("\\\\\n", " ").replace("\\\n", " ")
        for line in re.findall(r"python -m maskgit_prompt\.main(.*)", text):
            found.append((f"{path.relative_to(ROOT)}", shlex.split(line.partition("`")[0])))
    return found


def launches() -> list[tuple[str, list[str]]]:
    """(document, what follows "--") of each call of the launcher."""
    found = []
    for path in [*DOCUMENTS, ROOT / "launch" / "tpu_vm.sh"]:
        text = re.sub(r"\\\n(# )?", " ", path.read_text())
        for line in re.findall(r"launch/tpu_vm\.sh .* --\s+(--config=.*)", text):
            found.append((f"{path.relative_to(ROOT)}", shlex.split(line)))
    return found


COMMANDS = commands()
LAUNCHES = launches()


def test_commands_are_found():
    places = [place for place, _ in COMMANDS]
    assert places.count("README.md") >= 6
    assert {"docs/own_images.md", "docs/configuration.md", "configs/mini.py"} <= set(places)
    assert {"README.md", "launch/README.md", "launch/tpu_vm.sh"} == {p for p, _ in LAUNCHES}


@pytest.mark.parametrize(("place", "arguments"), COMMANDS + LAUNCHES)
def test_command_keeps_the_rules(place, arguments, monkeypatch):
    monkeypatch.chdir(ROOT)
    rules.check(parse(arguments))
    workdir = any(flag.startswith("--workdir=") for flag in arguments)
    assert workdir or (place, arguments) in LAUNCHES, place


def test_a_command_with_a_wrong_key_does_not_parse(monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(UsageError, match="has no key data.nosuch"):
        parse(["--config=configs/quickstart.py", "--config.data.nosuch=1"])


def test_a_list_is_set_by_several_flags(monkeypatch):
    monkeypatch.chdir(ROOT)
    flags = ["--config.compare.shots=5", "--config.compare.shots=10"]
    config = parse(["--config=configs/quickstart.py:compare", *flags])
    assert config.compare.shots == (5, 10)


# --- Links, targets, numbers ---------------------------------------------------------------------


def anchors(path: pathlib.Path) -> set[str]:
    """What a link may name after "#": "## The `a` of b" is #the-a-of-b."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_an_anchor_is_its_heading_as_github_writes_it(tmp_path):
    (tmp_path / "a.md").write_text("# The `run` job (of all)\n\n```bash\n# no heading\n```\n")
    assert anchors(tmp_path / "a.md") == {"the-run-job-of-all"}


def test_links_are_there():
    links = [
        (path, target)
        for path in [*DOCUMENTS, ROOT / "benchmarks" / "README.md"]
        for target in re.findall(r"\]\(([^)]+)\)", path.read_text())
        if not target.startswith("http")
    ]
    assert len(links) >= 20
    lost = []
    for path, target in links:
        name, _, anchor = target.partition("#")
        linked = path.parent / name if name else path
        if not linked.exists() or (anchor and anchor not in anchors(linked)):
            lost.append((path, target))
    assert lost == []


def test_make_targets_are_there():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    text = " ".join(path.read_text() for path in [*DOCUMENTS, *CONFIGS, ROOT / ".ci" / "run"])
    named = set(re.findall(r"(?:^|\s|`)make ([a-z]+)(?=$|\s|`)", text, re.M))
    assert {"quickstart", "test", "lint"} <= named & targets


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("`table`", dict(kind="table")),
        ("`additive`, R = D", dict(kind="additive")),
        ("`additive`, R = 32, dense", dict(kind="additive", embedding=32, dense=True)),
        ("`factorized`, R = 32", dict(kind="factorized", embedding=32)),
    ],
)
def test_parameter_counts_are_as_the_document_says(line, options):
    text = (ROOT / "docs" / "how_it_works.md").read_text()
    row = re.search(rf"^\| {re.escape(line)} \| ([\d,]+) \| ([\d,]+) \|$", text, re.M)
    for said, instances in zip(row.groups(), (100, 0), strict=True):
        cfg = PromptConfig(tokens=16, width=192, classes=10, instances=instances, **options)
        count = params.count(abstract(lambda rngs, cfg=cfg: PromptGenerator(cfg, rngs=rngs)))
        assert count == int(said.replace(",", ""))


def test_parts_of_small_classes_are_as_the_document_says():
    text = (ROOT / "docs" / "own_images.md").read_text()
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", text, re.M)
    config = shipped("folder.py", "PATH")
    fractions = {name: config.data.fractions[name] for name in loading.ORDER}
    assert len(rows) == 6
    for row in rows:
        images, *said = map(int, row)
        found = splits.split(np.zeros(images, int), fractions, seed=0)
        assert [len(found[name]) for name in ("tune", "judge", "test")] == said
    judges = [splits.split(np.zeros(n, int), fractions, seed=0)["judge"] for n in (13, 14)]
    assert [len(judge) for judge in judges] == [2, 3]  # "14 images a class": the judge needs 3


def test_the_fewest_images_are_as_the_document_says():
    text = (ROOT / "docs" / "outputs.md").read_text()
    said = {
        "accuracy": r"\| accuracy \| (\d+) generated ones; (\d+) held-out ones",
        "kid": r"\| KID \| (\d+) generated and (\d+) reference images",
        "frechet": r"\| Fréchet distance \| (\d+) and (\d+) \|",
        "precision_recall": r"\| precision, recall, density, coverage \| (\d+) and (\d+) \|",
        "near_copies": r"\| count of near-copies \| (\d+) held-out images",
    }
    found = {name: set(map(int, re.search(row, text).groups())) for name, row in said.items()}
    assert found == {name: {least} for name, least in measures.LEAST.items()}


def test_the_bounds_of_what_is_kept_are_as_the_document_says():
    text = (ROOT / "docs" / "outputs.md").read_text()
    row = re.search(r"^\| `reconstruction.keeps` .*$", text, re.M)[0]
    said = re.findall(r"at least (\d+) dB and at most ([\d.]+\d)", row)
    bounds = (reconstruction.DETAILS, reconstruction.SHAPES)
    assert [tuple(map(float, pair)) for pair in said] == [tuple(b.values()) for b in bounds]


def test_published_models_are_as_the_document_says():
    text = (ROOT / "docs" / "backbones.md").read_text()
    table = text.partition("| model | short name |")[2].partition("\n\n")[0]
    rows = [row.split("|") for row in table.splitlines()[2:]]
    said = {}
    for _, _, names, files, form, *_ in rows:
        for name in re.findall(r"`([a-z0-9-]+)`", names):
            said[name] = (form.strip(" `"), files)
    assert said.keys() == PUBLISHED.keys()
    for name, model in PUBLISHED.items():
        form, files = said[name]
        assert form == model.format
        if name.startswith("maskgit"):
            assert re.findall(r"`(\S+)`", files) == list(model.files)


def test_schedule_table_is_as_computed():
    from maskgit_prompt.decoding import schedules

    text = (ROOT / "docs" / "how_it_works.md").read_text()
    for name in ("linear", "cosine", "pow2", "log", "exp"):
        row = re.search(rf"^\| `{name}`.*\| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", text, re.M)
        values = jax.device_get(schedules.schedule(name)(np.array([0.25, 0.5, 0.75]), 16))
        np.testing.assert_allclose([float(x) for x in row.groups()], values, atol=5e-4)
