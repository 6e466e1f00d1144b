"""The comparison with stand-ins: what each method trains, and whose numbers stand in which row."""

import json
import re
import types

import numpy as np
import pytest
from ml_collections import ConfigDict

from maskgit_prompt import backbones, params
from maskgit_prompt.backbones.compute import Compute
from maskgit_prompt.errors import UsageError
from maskgit_prompt.jobs import compare
from maskgit_prompt.metrics.scores import Scores
from maskgit_prompt.report import sheets
from maskgit_prompt.tasks.generation import images
from maskgit_prompt.tuning import methods
from tests.jobs import stand_ins
from tests.jobs.stand_ins import CLASSES, flat
from tests.report.reading import capture, read

NUMBERS = ("accuracy", "frechet", "kid", "heldout_loss", "train_loss", "near_copies", "seconds")


def one(monkeypatch, home, method):
    """compare_one with stand-ins: its row, and what tuning and the sampler were given."""
    samplers = stand_ins.decoding(monkeypatch, compare, images)
    scorer, asked = stand_ins.Scorer(), {}

    def tune_prompt(plan, codes, folder, *, scratch=False, keep_best=False):
        asked.update(config=plan.config, codes=codes, folder=folder)
        asked.update(scratch=scratch, keep_best=keep_best)
        return stand_ins.tuned()

    monkeypatch.setattr(compare, "tune_prompt", tune_prompt)
    config = stand_ins.config("compare")
    row = compare.compare_one(stand_ins.plan(config), method, stand_ins.Stored(), scorer, home)
    assert json.loads((home / "row.json").read_text()) == row
    assert config == stand_ins.config("compare")  # one method leaves the next one's settings alone
    return types.SimpleNamespace(row=row, samplers=samplers, labels=scorer.labels, **asked)


@pytest.mark.parametrize("method", ["prompt", "full", "scratch"])
def test_row_of_a_trained_method(method, tmp_path, monkeypatch):
    done = one(monkeypatch, tmp_path, method)
    assert done.row == {
        "accuracy": 0.75,
        "frechet": 12.0,
        "kid": 0.02,
        "precision_recall": {"precision": 0.6, "recall": 0.4},
        "near_copies": 0.03,
        "heldout_loss": 2.5,
        "train_loss": 1.5,
        "trainable": 30,
        "seconds": 12.3,
        "best_step": 7,
    }
    (sampler,) = done.samplers
    assert sampler.prompt == stand_ins.prompt_config()
    np.testing.assert_array_equal(sampler.transformer["head"]["bias"], np.ones(3))  # the tuned one
    assert sampler.asked["sample"].headers[:, 0].tolist() == [101] * 3 + [102] * 3
    assert done.labels == {"prompt": [0, 0, 0, 1, 1, 1]}
    assert (done.folder, done.keep_best) == (tmp_path, True)
    assert done.codes.labels.tolist() == [1, 0, 1, 1]
    assert done.codes.test_labels.tolist() == [0, 1]


def test_row_without_tuning(tmp_path, monkeypatch):
    done = one(monkeypatch, tmp_path, "untuned")
    none = ("heldout_loss", "train_loss", "trainable", "seconds", "best_step")
    assert done.row == {
        "accuracy": 0.15,
        "frechet": 48.0,
        "kid": 0.3,
        "precision_recall": {"precision": 0.2, "recall": 0.1},
        "near_copies": 0.09,
        **dict.fromkeys(none),
    }
    assert done.labels == {"untuned": [0, 0, 0, 1, 1, 1]}
    assert done.samplers[0].transformer is None and not hasattr(done, "config")


@pytest.mark.parametrize(
    "method, trained, frozen, scratch, rate",
    [
        ("prompt", {"prompt"}, {"transformer"}, False, 0.0),
        ("full", {"prompt", "transformer"}, set(), False, 3e-5),
        ("scratch", {"prompt", "transformer"}, set(), True, 1e-3),
    ],
)
def test_what_each_method_trains_from_where_and_how_fast(
    method, trained, frozen, scratch, rate, tmp_path, monkeypatch
):
    done = one(monkeypatch, tmp_path, method)
    model = {"prompt": {"classes": 1}, "transformer": {"head": {"bias": 2}}}
    found = params.split(model, done.config.trainable)
    assert tuple(set(part) for part in found) == (trained, frozen)
    assert done.scratch is scratch
    assert done.config.optimizer.backbone_learning_rate == rate
    assert done.config.optimizer.learning_rate == 0.01  # the prompt's, with every method


def test_a_row_without_held_out_images_has_no_near_copies(tmp_path, monkeypatch):
    monkeypatch.setitem(stand_ins.SCORES["prompt"], "near_copies", None)
    assert one(monkeypatch, tmp_path, "prompt").row["near_copies"] is None


def test_sheet_of_a_method(tmp_path, monkeypatch):
    one(monkeypatch, tmp_path, "full")
    cells = flat([(101, 101, 0)] * 3 + [(102, 102, 0)] * 3).reshape(2, 3, 16, 16, 3)
    expected = sheets.png_bytes(sheets.grid(cells, CLASSES))
    assert (tmp_path / "sheet.png").read_bytes() == expected


# --- The whole job -------------------------------------------------------------------------------

METHODS = ("prompt", "full", "scratch", "untuned")


def row_of(method: str, shots: int) -> dict:
    """Numbers of a method with so many images, all of them different."""
    base = 0.1 * METHODS.index(method) + 0.01 * shots
    row = {name: round(base + 0.001 * i, 4) for i, name in enumerate(NUMBERS)}
    return {**row, "precision_recall": None, "trainable": 30, "best_step": 7}


def compare_all(monkeypatch, home, config: ConfigDict) -> list[tuple]:
    """The job with stand-ins; (method, shots, labels that it was given) of those that ran."""
    ran = []
    config.backbone = ""

    def make_plan(config, *_):
        assert config.data.shots == 0  # the comparison chooses among all images
        return stand_ins.plan(config)

    def make_scorer(plan, stored, decode):
        scorer = stand_ins.Scorer()
        count = len(plan.data.tune)
        scorer.warnings.append(f"Tuned on {count} images.")
        real = {"real": 0.9 + 0.01 * count, "reconstructed": 0.8 + 0.01 * count}
        scorer.of_real = lambda: {name: Scores({"accuracy": x}) for name, x in real.items()}
        return scorer

    def run_one(plan, method, stored, scorer, folder):
        assert plan.config == config
        labels = plan.data.labels(plan.data.tune).tolist()
        assert (plan.prompt_config.classes, plan.prompt_config.instances) == (2, len(labels))
        shots = max(map(labels.count, labels))
        ran.append((method, shots, labels))
        row = row_of(method, shots)
        finish(folder, row, METHODS.index(method) * 10 + shots)
        return row

    capture(monkeypatch)
    samplers = stand_ins.decoding(monkeypatch, compare)
    monkeypatch.setattr(backbones, "load_for", lambda *_: stand_ins.backbone())
    monkeypatch.setattr(compare, "make_plan", make_plan)
    monkeypatch.setattr(compare, "encode", lambda *_: stand_ins.Stored())
    monkeypatch.setattr(compare, "Scorer", make_scorer)
    monkeypatch.setattr(compare, "compare_one", run_one)
    compare.run(config, str(home))
    assert [sampler.compute for sampler in samplers] == [Compute.of(config)] * len(samplers)
    return ran


def finish(folder, row, number):
    """What a finished method leaves: a row, and a sheet as grey as the number."""
    folder.mkdir(parents=True, exist_ok=True)
    sheets.save_png(sheet(number), folder / "sheet.png")
    (folder / "row.json").write_text(json.dumps(row))


def sheet(number):
    return sheets.grid(flat([(number,) * 3])[None], scale=1)


def settings(shots: tuple[int, ...] = (1, 2)) -> ConfigDict:
    config = stand_ins.config("compare")
    config.compare.shots = shots
    return config


def test_rows_stand_with_their_method_and_number_of_images(tmp_path, monkeypatch):
    ran = compare_all(monkeypatch, tmp_path / "run", settings())
    pairs = [(method, shots) for shots in (1, 2) for method in METHODS]
    assert [(method, shots) for method, shots, _ in ran] == pairs
    assert all(sorted(labels) == [0, 1] for _, shots, labels in ran if shots == 1)
    assert all(sorted(labels) == [0, 1, 1] for _, shots, labels in ran if shots == 2)

    found = json.loads((tmp_path / "run" / "results.json").read_text())
    assert found["rows"] == [
        {"method": method, "shots": shots, **row_of(method, shots)} for method, shots in pairs
    ]

    page = read(tmp_path / "run" / "report.html")
    captions = ("Prompt tuning", "Full fine-tuning", "From scratch", "No tuning")
    for index, caption in enumerate(captions):
        for shots, words in ((1, "1 image per class"), (2, "2 images per class")):
            expected = sheets.png_bytes(sheet(10 * index + shots).convert("RGB"))
            assert page.pictures[f"{caption}, {words}"] == expected
    few, more = page.tables_of("method")
    assert [row["training loss"] for row in few] == ["0.014", "0.114", "0.214", "0.314"]
    assert [row["held-out loss"] for row in more] == ["0.023", "0.123", "0.223", "0.323"]


@pytest.mark.parametrize("shots", [(1, 2), (2, 1)], ids=["rising", "falling"])
def test_numbers_beside_the_rows_are_of_the_most_images(shots, tmp_path, monkeypatch):
    compare_all(monkeypatch, tmp_path / "run", settings(shots))
    found = json.loads((tmp_path / "run" / "results.json").read_text())
    assert [row["shots"] for row in found["rows"]] == [shots[0]] * 4 + [shots[1]] * 4
    for name in ("frechet", "kid", "heldout_loss", "train_loss", "near_copies"):
        assert found[name] == {method: row_of(method, 2)[name] for method in METHODS}
    scores = {method: row_of(method, 2)["accuracy"] for method in METHODS}
    # Two images of each class are three here: there is one cat.
    real = {"real": pytest.approx(0.93), "reconstructed": pytest.approx(0.83)}
    assert found["accuracy"] == {**real, **scores}


def test_warnings_of_every_number_of_images_stand_on_the_page_once(tmp_path, monkeypatch):
    compare_all(monkeypatch, tmp_path / "run", settings())
    texts = read(tmp_path / "run" / "report.html").texts
    warnings = ["Few images.", "Tuned on 2 images.", "Tuned on 3 images."]
    assert [text for text in texts if text in warnings] == warnings


def test_images_are_decoded_as_the_config_says(tmp_path, monkeypatch):
    config = settings()
    config.dtype = "bfloat16"
    assert Compute.of(config) != Compute.of(settings())
    compare_all(monkeypatch, tmp_path / "run", config)
    assert len(stand_ins.Sampler.made) == 2  # one for each number of images


@pytest.mark.parametrize(
    "key, values, expected",
    [
        ("shots", (2, 5, 2), r"shots = \(2, 5, 2\), expected some, each once"),
        ("shots", (), r"shots = \(\), expected some, each once"),
        ("shots", (2, 0), r"shots = \(2, 0\), expected at least 1, each"),
        ("methods", ("full", "full"), r"methods = \('full', 'full'\), expected some, each once"),
    ],
)
def test_numbers_of_images_and_methods_are_named_once(key, values, expected, tmp_path, monkeypatch):
    config = settings()
    config.compare[key] = values
    with pytest.raises(UsageError, match=rf"config\.compare\.{expected}"):
        compare_all(monkeypatch, tmp_path / "run", config)
    assert not (tmp_path / "run").exists()


def test_finished_methods_are_kept_and_unfinished_ones_done_again(tmp_path, monkeypatch):
    home = tmp_path / "run"
    kept = {**row_of("full", 1), "accuracy": 0.5}
    finish(home / "full-1", kept, 99)
    finish(home / "scratch-1", {}, 98)
    (home / "scratch-1" / "row.json").unlink()  # stopped before its row was written
    ran = compare_all(monkeypatch, home, settings())
    assert ("full", 1) not in [(method, shots) for method, shots, _ in ran]
    assert ("scratch", 1) in [(method, shots) for method, shots, _ in ran]
    assert len(ran) == 7
    rows = json.loads((home / "results.json").read_text())["rows"]
    assert rows[1] == {"method": "full", "shots": 1, **kept}
    assert rows[2] == {"method": "scratch", "shots": 1, **row_of("scratch", 1)}


def test_defaults_of_the_comparison():
    config = stand_ins.config("compare").compare
    assert config.methods == METHODS
    assert config.shots == (2, 5, 10)
    rates = config.learning_rates.to_dict()
    assert (rates["full"], rates["scratch"]) == (3e-5, 1e-3)
    # Every method that trains the transformer has one of its own.
    trains = lambda method: any("transformer" in pattern for pattern in method.trainable)
    assert rates.keys() == {name for name, method in methods.METHODS.items() if trains(method)}


def test_a_method_that_the_backbone_is_too_small_for_claims_no_workdir(tmp_path, monkeypatch):
    config = settings()
    config.compare.methods = ("prompt", "head", "last_2")
    message = "config.compare.methods, last_2: 'transformer/blocks/.*[-2:]' matches no parameter"
    with pytest.raises(UsageError, match=re.escape(message)):
        compare_all(monkeypatch, tmp_path / "run", config)
    assert not (tmp_path / "run").exists()
