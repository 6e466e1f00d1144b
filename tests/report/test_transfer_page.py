"""The main job's page: which number stands under which heading, which picture under which words."""

import pytest

from maskgit_prompt.metrics.run_result import RunResult
from maskgit_prompt.report import transfer
from maskgit_prompt.tuning.methods import ORIGINS
from tests.report.found import main_job
from tests.report.reading import Page, png, read


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Page:
    path = tmp_path_factory.mktemp("page") / "report.html"
    names = ("untuned", "marquee", "prompt", "loss", "reconstructed", "real", "fit", "pairs")
    pictures = {name: png(i) for i, name in enumerate(names)}
    transfer.transfer_report(path, RunResult.from_json(main_job()), pictures, origins=ORIGINS)
    return read(path)


def test_summary():
    assert transfer.summary(RunResult.from_json(main_job())).replace("\u202f", " ") == (
        "A prompt of 30 numbers (5.00 % of the model) was tuned; everything else stayed as it was. "
        "The backbone tiny keeps shapes and colours of these images, not details: no prompt brings "
        "back what its tokenizer leaves out. "
        "A classifier trained on other real images reads 75.0 % [66.0, 83.0] of the 18 generated "
        "images as their class (real ones: 95.0 %, reconstructed ones: 85.0 %, without tuning: "
        "15.0 %). "
        # 12 / 48
        "The Fréchet distance of the generated images to held-out real images is 12 [11, 13.5], "
        "0.25 times that without tuning (48). "
        "The loss is 1.500 on training images and 2.500 on held-out ones. "
        "3 of the 18 generated images (3.0 % [0.5, 9.0]) are near-copies of a training image. "
        "Brackets hold 95 % intervals."
    )


@pytest.mark.parametrize(
    "copies, words",
    [
        ({"count": 0, "fraction": 0.0}, "None of the 18 generated images is a near-copy of a"),
        ({"count": 1, "fraction": 0.06}, "1 of the 18 generated images (6.0 % [0.5, 9.0]) is a"),
        ({"count": None, "fraction": None}, ""),
    ],
)
def test_near_copies_in_words(copies, words):
    job = main_job()
    job["near_copies"] |= copies
    text = transfer.summary(RunResult.from_json(job)).replace("\u202f", " ")
    assert words in text
    assert ("near-cop" in text) == bool(words)


def test_accuracy_that_guessing_would_reach():
    """Of two classes: 50 %."""
    job = main_job()
    assert "Guessing" not in transfer.summary(RunResult.from_json(job))
    job["intervals"]["accuracy"]["prompt"] = [0.45, 0.85]
    text = transfer.summary(RunResult.from_json(job)).replace("\u202f", " ")
    assert "Guessing, 50.0 %, lies within that interval." in text


def test_a_backbone_that_keeps_the_details_is_not_mentioned_in_the_summary():
    job = main_job()
    job["reconstruction"]["keeps"] = "details"
    assert "tokenizer" not in transfer.summary(RunResult.from_json(job))


def test_scores(page):
    names = ("Fréchet distance", "KID", "precision", "recall", "density", "coverage")
    dash = dict.fromkeys(names, "—")
    assert page.table_of("images") == [
        {"images": "real images", "accuracy": "95.0 % [91.0, 97.0]", **dash},
        {"images": "real images, through the tokenizer and back", "accuracy": "85.0 %", **dash},
        {
            "images": "generated with the tuned prompt",
            "accuracy": "75.0 % [66.0, 83.0]",
            "Fréchet distance": "12.00 [11.00, 13.50]",
            "KID": "0.0200 [0.0100, 0.0350]",
            "precision": "60.0 % [55.0, 65.0]",
            "recall": "40.0 % [30.0, 50.0]",
            "density": "1.10 [0.90, 1.30]",
            "coverage": "90.0 % [80.0, 95.0]",
        },
        {
            "images": "generated without tuning",
            "accuracy": "15.0 % [10.0, 20.0]",
            "Fréchet distance": "48.00 [45.00, 52.00]",
            "KID": "0.3000 [0.2500, 0.3600]",
            "precision": "20.0 %",
            "recall": "10.0 %",
            "density": "1.10",
            "coverage": "90.0 %",
        },
    ]
    (counts,) = [text for text in page.texts if text.startswith("Accuracy:")]
    assert "of 18 generated images" in counts and "of 12 held-out images" in counts
    assert "Guessing would give 50.0 %." in counts
    assert "KID: of 18 generated images to 15 held-out real images" in counts


@pytest.mark.parametrize(
    "real, reconstructed, above",
    [
        (0.95, 0.85, None),
        (0.95, 0.7, "reconstructed ones"),
        (0.7, 0.85, "real ones"),
        (0.7, 0.6, "real ones and reconstructed ones"),
        (None, None, None),
    ],
)
def test_accuracy_above_that_of_real_images_is_explained(real, reconstructed, above, tmp_path):
    job = main_job()
    job["accuracy"] |= {"real": real, "reconstructed": reconstructed}
    result = RunResult.from_json(job)
    transfer.transfer_report(tmp_path / "r.html", result, {}, origins=ORIGINS)
    found = [t for t in read(tmp_path / "r.html").texts if "That does not make them better" in t]
    begins = f"Generated images are read as their class more often than {above}. "
    assert [text.startswith(begins) for text in found] == [True] * bool(above)


def test_what_the_backbone_keeps(page):
    assert page.table_of("reconstructions of") == [
        {
            "reconstructions of": "these held-out images",
            "images": "12",
            "PSNR, dB": "19.5",
            "distance in features": "0.35",
        },
        {
            "reconstructions of": "drawn pictures that it was not trained on",
            "images": "500",
            "PSNR, dB": "24.5",
            "distance in features": "0.15",
        },
    ]
    kept = "The backbone tiny keeps shapes and colours of these images, not details. PSNR"
    assert any(text.startswith(kept) for text in page.texts)


def test_what_an_imported_backbone_keeps_of_its_own_pictures_is_not_known(tmp_path):
    job = main_job()
    job["reconstruction"] |= {"own": None, "split": "tune", "feature_distance": None}
    result = RunResult.from_json(job)
    transfer.transfer_report(tmp_path / "r.html", result, {}, origins=ORIGINS)
    these, own = read(tmp_path / "r.html").table_of("reconstructions of")
    assert these["reconstructions of"] == "these images tuned on"
    assert (these["PSNR, dB"], these["distance in features"]) == ("19.5", "—")
    assert list(own.values()) == ["the backbone's own: not known", "—", "—", "—"]


def test_near_copies(page):
    what = "distance to the nearest training image"
    assert page.table_of(what) == [
        {what: "median of generated images", "pixel": "0.160", "feature": "1.600"},
        {what: "median of held-out images", "pixel": "0.120", "feature": "1.200"},
        {what: "a near-copy is nearer than", "pixel": "0.080", "feature": "0.900"},
    ]
    assert "Copied are cat/1.png (2), dog/2.png (1)." in page.texts
    nearest = "its nearest training image"
    assert page.table_of("generated image") == [
        {"generated image": "5", nearest: "cat/1.png", "pixel": "0.010", "feature": "0.100"}
        | {"near-copy": "yes"},
        {"generated image": "4", nearest: "cat/0.png", "pixel": "0.110", "feature": "0.500"}
        | {"near-copy": "no"},
    ]


def test_near_copies_that_cannot_be_told(tmp_path):
    job = main_job()
    nothing = {"count": None, "fraction": None, "threshold": None, "median_heldout": None}
    job["near_copies"] |= nothing | {"copied": {}, "reason": "7 held-out images, 50 are needed"}
    result = RunResult.from_json(job)
    transfer.transfer_report(tmp_path / "r.html", result, {"pairs": png(1)}, origins=ORIGINS)
    page = read(tmp_path / "r.html")
    assert "Not counted: 7 held-out images, 50 are needed." in page.texts
    assert not any("Copied are" in text for text in page.texts)
    (medians,) = page.table_of("distance to the nearest training image")
    assert medians["pixel"] == "0.160"
    assert [row["near-copy"] for row in page.table_of("generated image")] == ["—", "—"]
    (caption,) = page.pictures
    assert caption.startswith("The nearest pairs: generated images, and below each")


def test_marquee(page):
    assert page.table_of("cutoff") == [
        {
            "cutoff": "0",
            "diversity": "0.2500",
            "distance to the instance": "0.5000",
            "accuracy": "70.0 %",
        },
        {
            "cutoff": "0.4",
            "diversity": "0.1250",
            "distance to the instance": "0.3750",
            "accuracy": "65.0 %",
        },
    ]


def test_losses_and_parameters(page):
    assert page.table_of("loss on") == [
        {"loss on": "training images", "nats per code": "1.500"},
        {"loss on": "held-out images", "nats per code": "2.500"},
    ]
    assert page.table_of("parameters") == [
        {"parameters": "trainable", "number": "30", "share": "5.00 %"},
        {"parameters": "frozen", "number": "570", "share": "—"},
    ]


def test_seconds_of_each_stage(page):
    assert page.table_of("stage") == [
        {"stage": "load", "seconds": "1.0"},
        {"stage": "tune", "seconds": "20.0"},
        {"stage": "sample", "seconds": "4.0"},
        {"stage": "total", "seconds": "25.0"},
    ]


def test_counts_of_images_by_part(page):
    values = {row["data"]: row["value"] for row in page.table_of("data")}
    parts = ("tune", "judge", "test", "reference")
    assert [values[f"images.{part}"] for part in parts] == ["6", "9", "12", "15"]
    assert values["classes"] == "cat, dog"


def test_each_picture_has_its_own_words(page):
    real, reconstructed, prompt, untuned, fit, pairs, marquee, loss = page.pictures
    assert real == "Real images as the model sees them, 16 × 16 pixels"
    assert fit.startswith("Held-out images as they go into the tokenizer, and as they come out")
    assert pairs.startswith("The nearest pairs")
    assert reconstructed == "Real images, through the tokenizer and back"
    assert prompt == "Generated with the tuned prompt"
    assert untuned == "Generated without tuning"
    assert marquee.startswith("Every image begins under one instance's prompt and ends under its")
    assert loss.startswith("Loss while tuning.")
    found = [page.pictures[caption][-1] for caption in page.pictures]
    # Numbers of the fixture's names: real is its last, untuned its first.
    assert found == [5, 4, 2, 0, 6, 7, 1, 3]


def test_methods_of_other_runs_have_their_own_words(tmp_path):
    scores = {"prompt": 0.5, "scratch": 0.25, "full": 0.75}
    result = RunResult.from_json({"accuracy": scores})
    transfer.transfer_report(tmp_path / "r.html", result, {}, origins=ORIGINS)
    assert read(tmp_path / "r.html").table_of("images") == [
        {"images": "generated with the tuned prompt", "accuracy": "50.0 %"},
        {"images": "generated after full fine-tuning", "accuracy": "75.0 %"},
        {"images": "generated by a model trained from scratch", "accuracy": "25.0 %"},
    ]
