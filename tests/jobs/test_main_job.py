"""The main job with stand-ins: what was tuned, generated and scored is found where it belongs."""

import json
import types

import numpy as np
import pytest

from maskgit_prompt import progress
from maskgit_prompt.report import sheets
from maskgit_prompt.tasks.generation import images, transfer
from maskgit_prompt.tuning import tuned_prompt
from maskgit_prompt.tuning.tuned_file import TunedOn
from tests.jobs import stand_ins
from tests.jobs.stand_ins import CLASSES, SCORES, SECONDS, flat
from tests.report.reading import capture, read

CATS, DOGS = [101, 101, 0], [102, 102, 0]  # of the class's prompt alone


def job(monkeypatch, home, config, results=None, untuned=None):
    """Carries out the main job with stand-ins; its parts as a namespace."""
    charts = capture(monkeypatch)
    samplers = stand_ins.decoding(monkeypatch, images)
    clock = stand_ins.Sampler.clock
    scorer = stand_ins.Scorer(clock)
    asked = {}

    def encode(plan, home):
        clock.take("encode")
        return stand_ins.Stored()

    def tune_prompt(plan, codes, home):
        clock.take("tune")
        asked["codes"] = codes
        return results or stand_ins.tuned()

    def make_scorer(plan, stored, decode):
        clock.take("judge")
        return scorer

    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setattr(transfer, "encode", encode)
    monkeypatch.setattr(transfer, "tune_prompt", tune_prompt)
    monkeypatch.setattr(transfer, "Scorer", make_scorer)
    made = transfer.carry_out(stand_ins.plan(config), home, progress.Clock(), untuned)
    found = json.loads((home / "results.json").read_text())
    return types.SimpleNamespace(
        found=found,
        samplers=samplers,
        scorer=scorer,
        untuned=made,
        home=home,
        charts=charts,
        **asked,
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        yield job(patch, tmp_path_factory.mktemp("main"), stand_ins.config())


def test_scores_of_tuned_and_untuned_images(done):
    found = done.found
    assert found["accuracy"] == {
        "real": 0.95, "reconstructed": 0.85, "prompt": 0.75, "untuned": 0.15,
    }  # fmt: skip
    for name in ("frechet", "kid", "precision_recall"):
        assert found[name] == {which: SCORES[which][name] for which in ("prompt", "untuned")}
    assert found["near_copies"] == SCORES["prompt"]["near_copies"]
    assert done.scorer.labels == {"prompt": [0, 0, 0, 1, 1, 1], "untuned": [0, 0, 0, 1, 1, 1]}


def test_losses_steps_and_the_share_of_what_is_trained(done):
    assert done.found["loss"] == {"train": 1.5, "heldout": 2.5}
    # 30 / (30 + 570)
    assert done.found["parameters"] == {"trainable": 30, "frozen": 570, "share": 0.05}
    assert done.found["steps"] == 7


def test_counts_of_images(done):
    data = done.found["data"]
    assert data["images"] == {"tune": 4, "judge": 2, "test": 2, "reference": 8}
    assert (data["classes"], data["generated"], data["shown"]) == (["cat", "dog"], 6, 2)
    assert done.found["encoding"] == {"images": 6, "images_per_second": 64.0}
    assert done.found["model"] == {"name": "tiny", "transformer": "masked"}


def test_what_tuning_sees(done):
    assert done.codes.codes[:, 0, 0].tolist() == [2, 3, 4, 5]
    assert done.codes.labels.tolist() == [1, 0, 1, 1]
    assert done.codes.test[:, 0].tolist() == [0, 1]
    assert done.codes.test_labels.tolist() == [0, 1]


def test_seconds_of_each_stage(done):
    seconds = done.found["seconds"]
    # The marquee's two cutoffs; both sets of images are scored.
    assert seconds == SECONDS | {"marquee": 2 * 17.0, "score": 2 * 11.0, "report": 0.0}
    assert done.found["seconds_per_image"] == 0.25


def test_images_are_of_the_classes_prompts_and_the_tuned_transformer(done):
    tuned, untuned = done.samplers
    assert tuned.asked["sample"].headers[:, 0].tolist() == [101] * 3 + [102] * 3
    np.testing.assert_array_equal(tuned.transformer["head"]["bias"], np.ones(3))
    assert untuned.transformer is None and untuned.prompt is None
    assert untuned.asked.keys() == {"untuned"}
    assert all(200 <= colour[0] < 205 for colour in stand_ins.colours(done.untuned))


def test_marquee_goes_from_the_instance_to_its_class(done):
    # Two images each of the first cat and dog that are tuned on: instances 1 and 0.
    assert done.scorer.read == [
        ([[101, 101, 100]] * 2 + [[102, 102, 100]] * 2, [0, 0, 1, 1]),
        ([[121, 101, 40]] * 2 + [[112, 102, 40]] * 2, [0, 0, 1, 1]),
    ]
    alone, mixed = done.found["marquee"]
    assert (alone["cutoff"], mixed["cutoff"]) == (0.0, 0.4)
    assert (alone["accuracy"], mixed["accuracy"]) == (0.7, 0.65)
    # All images of an instance are alike here; none is like the image itself.
    assert (alone["diversity"], mixed["diversity"]) == (0.0, 0.0)
    assert alone["distance_to_instance"] > 0.1 and mixed["distance_to_instance"] > 0.1


def test_pictures(done):
    def expected(pixels, present=None):
        present = None if present is None else np.array(present, bool)
        return sheets.grid(flat(pixels).reshape(2, -1, 16, 16, 3), CLASSES, present=present)

    gap = (0, 0, 0)
    present = [[1, 0, 0], [1, 1, 1]]
    pictures = {
        # Of those tuned on: cat 3, dogs 2, 4 and 5.
        "real": expected([(30, 0, 0), gap, gap, (20, 0, 0), (40, 0, 0), (50, 0, 0)], present),
        "reconstructed": expected(
            [(0, 30, 0), gap, gap, (0, 20, 0), (0, 40, 0), (0, 50, 0)], present
        ),
        "prompt": expected([CATS] * 3 + [DOGS] * 3),
        "untuned": sheets.grid(done.untuned[None]),
        "marquee": sheets.grid(
            flat(
                [(0, 0, 30), (101, 101, 100), (121, 101, 40)]
                + [(0, 0, 20), (102, 102, 100), (112, 102, 40)]
            ).reshape(2, 3, 16, 16, 3),
            CLASSES,
            ["instance", "class", "0.4"],
        ),
        "fit": sheets.grid(
            flat([(0, 0, 0), (10, 0, 0), (0, 0, 0), (0, 10, 0)]).reshape(2, 2, 16, 16, 3),
            ["goes in", "comes out"],
        ),
        # Generated image 5 is of dogs, the second image tuned on is cat 3.
        "pairs": sheets.grid(
            flat([DOGS, (30, 0, 0)]).reshape(2, 1, 16, 16, 3), ["generated", "training"]
        ),
    }
    captions = {
        "real": "Real images as the model sees them, 16 × 16 pixels",
        "reconstructed": "Real images, through the tokenizer and back",
        "prompt": "Generated with the tuned prompt",
        "untuned": "Generated without tuning",
        "marquee": "Every image begins under",
        "fit": "Held-out images as they go into the tokenizer",
        "pairs": "The nearest pairs",
    }
    page = read(done.home / "report.html")
    for name, picture in pictures.items():
        png = (done.home / "samples" / f"{name}.png").read_bytes()
        assert png == sheets.png_bytes(picture), name
        (caption,) = [c for c in page.pictures if c.removesuffix(".") == captions[name]] or [
            c for c in page.pictures if c.startswith(captions[name])
        ]
        assert page.pictures[caption] == png, name


def test_loss_is_drawn_as_it_was_logged(done):
    (chart,) = done.charts
    assert chart.curves == {
        "training images": ([1, 7], [3.0, 1.5]),
        "held-out images": ([1, 7], [4.0, 2.5]),
    }


def test_page(done):
    page = read(done.home / "report.html")
    rows = {row["images"]: row["accuracy"] for row in page.table_of("images")}
    assert rows == {
        "real images": "95.0 %",
        "real images, through the tokenizer and back": "85.0 %",
        "generated with the tuned prompt": "75.0 %",
        "generated without tuning": "15.0 %",
    }
    assert "The loss is 1.500 on training images and 2.500 on held-out ones." in page.texts[0]
    assert page.texts[1] == "Few images."


def test_images_kept_are_listed_with_their_classes(done):
    lines = (done.home / "chosen.csv").read_text().splitlines()
    assert lines == ["file,class", "2.png,dog", "3.png,cat", "4.png,dog", "5.png,dog"]


def test_prompt_file(done):
    found = tuned_prompt.load(done.home / "prompt.safetensors")
    assert found.classes == ("cat", "dog")
    assert found.instances == ("2.png", "3.png", "4.png", "5.png")
    assert found.instance_classes == (1, 0, 1, 1)
    assert found.backbone == TunedOn("tiny", stand_ins.FINGERPRINT, ("tokenizer", "transformer"))
    assert found.config == stand_ins.prompt_config()
    assert found.tree["classes"][:, 0, 0].tolist() == [1, 2]
    assert found.sample == stand_ins.config().sample.to_dict()
    assert found.scores == {
        "accuracy": {"real": 0.95, "reconstructed": 0.85, "prompt": 0.75, "untuned": 0.15},
        "frechet": {"prompt": 12.0, "untuned": 48.0},
        "kid": {"prompt": 0.02, "untuned": 0.3},
        "loss": {"train": 1.5, "heldout": 2.5},
    }
    size = (done.home / "prompt.safetensors").stat().st_size
    assert done.found["prompt_file"] == {"name": "prompt.safetensors", "bytes": size}


def test_last_words(tmp_path, monkeypatch, capsys):
    job(monkeypatch, tmp_path, stand_ins.config())
    assert capsys.readouterr().out.splitlines()[-4:-2] == [
        "accuracy 0.75 (real 0.95, untuned 0.15), Fréchet distance 12 (untuned 48)",
        "tiny keeps shapes and colours of these images, not details (PSNR 19.5 dB, "
        "distance in features 0.35)",
    ]


def test_a_finished_run_keeps_the_seconds_of_its_tuning(tmp_path, monkeypatch):
    job(monkeypatch, tmp_path, stand_ins.config())
    monkeypatch.setitem(SECONDS, "tune", 1.0)
    monkeypatch.setitem(SECONDS, "encode", 2.0)
    again = job(monkeypatch, tmp_path, stand_ins.config(), stand_ins.tuned(resumed=7))
    assert (again.found["seconds"]["tune"], again.found["seconds"]["encode"]) == (20.0, 2.0)
    partly = job(monkeypatch, tmp_path, stand_ins.config(), stand_ins.tuned(resumed=5))
    assert partly.found["seconds"]["tune"] == 1.0


def test_untuned_images_of_another_task_are_taken_where_they_are_as_many(tmp_path, monkeypatch):
    given = flat([(250, 250, 0)] * 6)
    done = job(monkeypatch, tmp_path, stand_ins.config(), untuned=given)
    assert done.untuned is given and len(done.samplers) == 1
    assert done.found["accuracy"]["untuned"] == 0.15
    done = job(monkeypatch, tmp_path, stand_ins.config(), untuned=given[:5])
    assert len(done.untuned) == 6 and len(done.samplers) == 2
