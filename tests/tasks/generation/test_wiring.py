"""The main job from stored codes to files: which images and labels reach which step."""

import dataclasses
import json
import re

import numpy as np
import pytest
from PIL import Image

from maskgit_prompt import backbones
from maskgit_prompt.data import splits
from maskgit_prompt.data.augment import PLAIN
from maskgit_prompt.decoding.config import DecodeConfig
from maskgit_prompt.errors import UsageError
from maskgit_prompt.progress import Clock
from maskgit_prompt.tasks.generation import encoding, transfer
from maskgit_prompt.tasks.generation.outputs import save_choice
from maskgit_prompt.tasks.generation.plan import claim, make_plan
from maskgit_prompt.tasks.generation.prompt_analysis import PromptAnalysis
from maskgit_prompt.tasks.generation.prompt_tuning import tuning_codes
from maskgit_prompt.tuning import tuned_prompt
from maskgit_prompt.tuning.tuned_file import TunedOn
from tests.tasks.generation import stubs
from tests.tasks.generation.stubs import flat, shades

# --- What tuning sees ----------------------------------------------------------------------------


def test_tuning_sees_views_of_what_is_tuned_on_and_held_out_codes_with_their_labels():
    """Codes are tens of shades, and 1 more in the second view."""
    data = stubs.data()
    found = tuning_codes(stubs.plan(data), stubs.encoded(data))
    assert np.asarray(found.codes)[..., 0].tolist() == [[2, 3], [4, 5], [7, 8]]
    assert found.labels.tolist() == [0, 0, 1]
    assert found.scored.tolist() == [0, 1, 2]
    assert found.test[:, 0].tolist() == [1, 3, 5, 9]
    assert found.test_labels.tolist() == [0, 0, 0, 1]


def test_the_training_loss_is_of_as_many_images_as_asked_for():
    """Three of the four images of a class, chosen by the seed of the data."""
    data = stubs.data(tune=[(10, 0), (20, 0), (30, 0), (40, 0)])
    chosen = set()
    for seed in range(8):
        plan = stubs.plan(data, score__most=3, data__seed=seed, seed=1)
        found = tuning_codes(plan, stubs.encoded(data))
        assert found.scored.tolist() == splits.thin(np.zeros(4), 3, seed).tolist()
        chosen.add(tuple(found.scored.tolist()))
    assert {len(rows) for rows in chosen} == {3}
    assert len(chosen) > 1


def test_nothing_held_out_has_no_codes_and_no_labels():
    data = stubs.data(test=[])
    found = tuning_codes(stubs.plan(data), stubs.encoded(data))
    assert found.test.shape == (0, 1)
    assert found.test_labels.shape == (0,)


def test_only_what_is_tuned_on_is_encoded_in_views(monkeypatch, tmp_path):
    asked = {}
    monkeypatch.setattr(
        encoding, "encode_once", lambda images, parts, *rest: asked.update(parts=parts)
    )
    plan = stubs.plan(stubs.data(), ("tokenizer",), data__views=3, data__seed=8)
    encoding.encode(plan, tmp_path)
    (tuned, views), (held, plain) = asked["parts"]
    assert (tuned.tolist(), held.tolist()) == ([6, 7, 8], [0, 1, 2, 3])
    assert (views.count, views.seed, plain) == (3, 8, PLAIN)


# --- What a workdir is bound to ------------------------------------------------------------------


def claimed(plan, path):
    with claim(plan, path) as home:
        return home


TUNED_ON, HELD_OUT = (
    r"\(those tuned on were \w+, are \w+\)",
    r"\(those held out were \w+, are \w+\)",
)


@pytest.mark.parametrize(
    "parts, differ",
    [
        pytest.param({"tune": [(25, 0), (47, 1), (73, 1)]}, TUNED_ON, id="label-tuned-on"),
        pytest.param({"test": [(12, 0), (33, 0), (58, 1), (91, 1)]}, HELD_OUT, id="label-held-out"),
    ],
)
def test_a_workdir_is_of_these_images_and_labels(parts, differ, tmp_path):
    home = claimed(stubs.plan(stubs.data()), tmp_path / "run")
    assert home == claimed(stubs.plan(stubs.data()), tmp_path / "run")
    with pytest.raises(UsageError, match=f"on other images or labels than are there now {differ}"):
        claimed(stubs.plan(stubs.data(**parts)), tmp_path / "run")


@pytest.mark.parametrize(
    "part, rows, differ",
    [
        pytest.param("tune", [0, 1, 3], TUNED_ON, id="tuned-on"),
        pytest.param("test", [0, 1, 4, 3], HELD_OUT, id="held-out"),
    ],
)
def test_a_workdir_is_not_of_other_images_with_the_same_labels(part, rows, differ, tmp_path):
    data = stubs.data()
    other = dataclasses.replace(data, **{part: np.array(rows)})
    assert other.labels(rows).tolist() == data.labels(getattr(data, part)).tolist()
    claimed(stubs.plan(data), tmp_path / "run")
    with pytest.raises(UsageError, match=differ):
        claimed(stubs.plan(other), tmp_path / "run")


def test_a_workdir_takes_other_images_for_the_judge_and_to_compare_with(tmp_path):
    claimed(stubs.plan(data := stubs.data()), tmp_path / "run")
    other = dataclasses.replace(data, judge=data.tune, reference=data.test)
    claimed(stubs.plan(other), tmp_path / "run")


def test_the_chosen_images_are_those_tuned_on(tmp_path):
    save_choice(tmp_path, stubs.data())
    expected = "file,class\n6.png,dark\n7.png,dark\n8.png,light\n"
    assert (tmp_path / "chosen.csv").read_text() == expected


# --- The whole -----------------------------------------------------------------------------------


@pytest.fixture
def carry_out(monkeypatch, tmp_path):
    """Runs it with two images per class; returns (results.json, its result, samplers, seen).

    Tuned images are 50, 50, 150, 150 and untuned ones all 200; seen["codes"] is what tuning got.
    """
    stubs.use(monkeypatch)
    made = stubs.use_sampler(monkeypatch)

    def run(untuned=None, tuned=None, **changes):
        data, seen = stubs.data(), {}
        plan = stubs.plan(
            data,
            **{
                "score__per_class": 2,
                "score__marquee_images": 2,
                "score__marquee_cutoffs": (0.5, 1.0),
                **changes,
            },
        )

        def tune_prompt(plan, codes, home):
            seen["codes"] = codes
            return tuned or stubs.tuned()

        monkeypatch.setattr(transfer, "encode", lambda *arguments: stubs.encoded(data))
        monkeypatch.setattr(transfer, "tune_prompt", tune_prompt)
        clock = Clock()
        clock.seconds["tune"] = 0.5
        given = transfer.carry_out(plan, tmp_path, clock, untuned=untuned)
        found = json.loads((tmp_path / "results.json").read_text())
        return found, given, made, seen

    return run


def test_tuned_images_are_scored_as_those_of_the_prompt(carry_out, tmp_path, capsys):
    """50, 50, 150, 150 are read as dark, dark, light, light, which they should be; 200 as light.
    Fréchet distances to features of mean 1/2 and variance 1/3: (3/2)^2 + 1/3, and (7/2)^2 + 1/3.
    KID: as in test_score.py, and 13/6 + 17^3 - 2 * (8 * 1 + 8 * 5^3) / 16. The nearest of 20, 40
    and 70, which were tuned on, are 10 from 50 and 80 from 150."""
    found, _, _, _ = carry_out()
    accuracy = {"real": 0.75, "reconstructed": 1.0, "prompt": 1.0, "untuned": 0.5}
    assert found["accuracy"] == accuracy
    frechet = {"prompt": pytest.approx(31 / 12), "untuned": pytest.approx(151 / 12)}
    assert found["frechet"] == frechet
    kid = {
        "prompt": pytest.approx(13 / 6 + 632 / 3 - 37),
        "untuned": pytest.approx(13 / 6 + 4913 - 126),
    }
    assert found["kid"] == kid
    # A quarter of the grey levels, see test_score.py.
    assert found["near_copies"]["median"]["pixel"] == pytest.approx(45 / 4)
    assert found["data"]["generated"] == 4
    assert "accuracy 1 [0.51, 1] (real 0.75, untuned 0.5)" in capsys.readouterr().out


def test_precision_and_recall_reach_the_report_under_their_names(carry_out, tmp_path):
    """Those of test_score.py; untuned features 4, 4, 4, 4 are in no ball, and have none."""
    found, _, _, _ = carry_out()
    near = {name: (x["precision"], x["recall"]) for name, x in found["precision_recall"].items()}
    assert near == {"prompt": (0.5, 1.0), "untuned": (0.0, 0.0)}
    page = (tmp_path / "report.html").read_text()
    (table,) = re.findall(
        "<table(?:(?!<table).)*generated with the tuned prompt.*?</table>", page, re.S
    )
    names = re.findall("<th[^>]*>(.*?)</th>", table)
    (row,) = re.findall("<tr><td[^>]*>(generated with the tuned prompt</td>.*?)</td></tr>", table)
    shown = dict(zip(names, re.split("</td><td[^>]*>", row), strict=True))
    number = lambda name: shown[name].partition(" <small>")[0]
    assert number("accuracy") == "100.0\u202f%"
    assert (number("precision"), number("recall")) == ("50.0\u202f%", "100.0\u202f%")
    assert (number("density"), number("coverage")) == ("0.67", "100.0\u202f%")


def test_tuned_images_are_made_by_what_was_tuned(carry_out):
    _, _, (tuned, untuned), _ = carry_out(sample__steps=5, sample__cutoff=0.5)
    assert tuned.config == untuned.config == DecodeConfig(steps=5, cutoff=0.5)
    assert (tuned.transformer, untuned.transformer) == ("tuned transformer", None)
    assert (tuned.prompt.tokens, untuned.prompt) == (1, None)
    assert tuned.calls[0].headers.ravel().tolist() == [50, 50, 150, 150]
    assert [call.what for call in untuned.calls] == ["untuned"]


def test_what_prompts_learned_reaches_the_results_and_the_page(carry_out, tmp_path, monkeypatch):
    asked = {}

    def analyse(plan, stored, prompts, transformer):
        asked.update(prompts=prompts(np.array([1])).array.ravel().tolist(), weights=transformer)
        apart = np.array([[0.0, 3.0], [3.0, 0.0]])
        places, attention = np.eye(4, 2), np.full((1, 2, 3), 0.25)
        return PromptAnalysis(
            np.arange(2), apart, np.array([0, 1]), places, None, (0.5, 0.25), attention
        )

    monkeypatch.setattr(transfer, "analyse", analyse)
    carry_out(score__prompts=True)
    tuned = stubs.tuned()
    assert asked["prompts"] == tuned.prompt["classes"][1].ravel().tolist()
    assert asked["weights"] is tuned.transformer or asked["weights"] == tuned.transformer
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["prompts"] == {
        "attention": [0.5],
        "distance": 3.0,
        "nearest": {
            "dark": {"class": "light", "distance": 3.0},
            "light": {"class": "dark", "distance": 3.0},
        },
        "images_alike": {"share": 0.5, "chance": 0.25},
    }
    assert (tmp_path / "samples" / "prompt-places.png").exists()
    assert not (tmp_path / "samples" / "prompt-neighbours.png").exists()
    page = (tmp_path / "report.html").read_text().replace("\u202f", " ")
    assert "for 50.0 % of the images; by chance it would be for 25.0 %" in page
    assert page.index("What the prompt learned") < page.index("Training</h2>")


def test_pictures_show_what_they_are_called(carry_out, tmp_path):
    """By the shades that fill them; labels and gaps are few pixels."""
    carry_out()
    shown = {}
    for name in ("real", "reconstructed", "prompt", "untuned", "glance", "fit", "pairs"):
        pixels = np.asarray(Image.open(tmp_path / "samples" / f"{name}.png").convert("RGB"))
        values, counts = np.unique(pixels[..., 0], return_counts=True)
        shown[name] = values[counts >= 1000].tolist()
    paper = shown["untuned"][-1]
    assert shown == {
        "real": [25, 47, 73, paper],
        "reconstructed": [20, 40, 70, paper],
        "prompt": [50, 150, paper],
        "untuned": [200, paper],
        "glance": [50, 150, paper],
        "fit": [10, 12, 30, 33, 50, 58, 90, 91, paper],
        "pairs": [47, 50, 73, 150, paper],
    }


def test_the_marquee_is_made_with_the_tuned_prompts(carry_out, tmp_path):
    """Decoded instances are 20 and 70; their prompts are 28 and 72, their classes' 50 and 150."""
    found, _, (tuned, _), _ = carry_out()
    assert [row["cutoff"] for row in found["marquee"]] == [0.0, 0.5, 1.0]
    distances = [row["distance_to_instance"] * 255 for row in found["marquee"]]
    # (50 - 20 + 150 - 70) / 2, (39 - 20 + 111 - 70) / 2, (28 - 20 + 72 - 70) / 2
    np.testing.assert_allclose(distances, [55, 30, 5])
    assert [row["accuracy"] for row in found["marquee"]] == [1.0, 1.0, 1.0]
    assert (tmp_path / "samples" / "marquee.png").exists()


def test_speeds_and_sizes_are_of_their_own_steps(carry_out, tmp_path):
    """The stub's speed is a quarter second after its first call, more after the marquee's. Seven
    images are encoded, four of them in the larger file."""
    found, _, _, seen = carry_out()
    assert found["seconds_per_image"] == 0.25
    assert found["encoding"] == {"images": 7, "images_per_second": 4.5}
    assert found["model"] == {"name": "stub", "transformer": "masked"}
    assert found["prompt_file"] == {
        "name": "prompt.safetensors",
        "bytes": (tmp_path / "prompt.safetensors").stat().st_size,
    }
    assert seen["codes"].test_labels.tolist() == [0, 0, 0, 1]


def test_the_prompt_file_holds_the_tuned_prompt_and_its_images(carry_out, tmp_path):
    found, _, _, _ = carry_out()
    prompt = tuned_prompt.load(tmp_path / "prompt.safetensors")
    assert prompt.tree["classes"].ravel().tolist() == [50, 150]
    assert prompt.classes == ("dark", "light")
    assert prompt.instances == ("6.png", "7.png", "8.png")
    assert prompt.instance_classes == (0, 0, 1)
    assert prompt.backbone == TunedOn("stub", stubs.FINGERPRINT, ("tokenizer", "transformer"))
    assert prompt.scores == {key: found[key] for key in ("accuracy", "frechet", "kid", "loss")}


def test_untuned_images_of_another_task_are_taken_if_as_many(carry_out):
    """Four of shade 100 have feature 2: (3/2)^2 + (0 - 1)^2 / 3. Three are too few: four of shade
    200 are made, (7/2)^2 + 1/3."""
    found, given, made, _ = carry_out()
    assert shades(given) == [200] * 4
    assert len(made) == 2

    found, given, made, _ = carry_out(untuned=flat(*[100] * 4))
    assert shades(given) == [100] * 4
    assert len(made) == 3
    assert found["frechet"]["untuned"] == pytest.approx(31 / 12)

    found, given, made, _ = carry_out(untuned=flat(*[100] * 3))
    assert shades(given) == [200] * 4
    assert found["frechet"]["untuned"] == pytest.approx(151 / 12)


def test_a_finished_run_that_is_started_again_keeps_its_seconds_of_tuning(carry_out, tmp_path):
    """The clock says half a second where nothing is left to tune."""
    old = json.dumps({"seconds": {"tune": 123.0}})
    for resumed, seconds in ((299, 0.5), (300, 123.0)):
        (tmp_path / "results.json").write_text(old)
        found, _, _, _ = carry_out(tuned=stubs.tuned(resumed=resumed))
        assert found["seconds"]["tune"] == seconds


def test_a_plan_has_at_most_so_many_images_to_judge_and_to_hold_out_but_all_to_compare_with(
    tmp_path,
):
    """Of 1,797 digits 0.3 are for the judge and 0.4 held out, here about 100 each, ten a class."""
    config = stubs.config(score__most=100)
    plan = make_plan(config, backbones.load("mini"), stubs.mesh(), tmp_path)
    data, cfg = plan.data, plan.prompt_config
    assert 95 <= len(data.judge) <= 105
    assert 95 <= len(data.test) <= 105
    assert 715 <= len(data.reference) <= 723
    assert set(np.bincount(data.labels(data.tune))) == {10}
    assert (cfg.classes, cfg.instances) == (10, 100)
