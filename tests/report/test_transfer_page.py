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
    names = ("untuned", "marquee", "prompt", "loss", "reconstructed", "real")
    pictures = {name: png(i) for i, name in enumerate(names)}
    transfer.transfer_report(path, RunResult.from_json(main_job()), pictures, origins=ORIGINS)
    return read(path)


def test_summary():
    assert transfer.summary(RunResult.from_json(main_job())).replace("\u202f", " ") == (
        "A prompt of 30 numbers (5.00 % of the model) was tuned; everything else stayed as it was. "
        "A classifier trained on held-out real images reads 75.0 % of the generated images as "
        "their class (real ones: 95.0 %, reconstructed ones: 85.0 %, without tuning: 15.0 %). "
        # 12 / 48
        "The Fréchet distance of the generated images to held-out real images is 12, 0.25 times "
        "that without tuning (48). "
        "The loss is 1.500 on training images and 2.500 on held-out ones. "
        "3.0 % of the generated images are near-copies of training images (of unseen real images "
        "5.0 % would be)."
    )


def test_scores(page):
    dash = dict.fromkeys(("Fréchet distance", "KID", "precision", "recall"), "—")
    assert page.table_of("images") == [
        {"images": "real images", "accuracy": "95.0 %", **dash},
        {"images": "real images, through the tokenizer and back", "accuracy": "85.0 %", **dash},
        {
            "images": "generated with the tuned prompt",
            "accuracy": "75.0 %",
            "Fréchet distance": "12.00",
            "KID": "0.0200",
            "precision": "60.0 %",
            "recall": "40.0 %",
        },
        {
            "images": "generated without tuning",
            "accuracy": "15.0 %",
            "Fréchet distance": "48.00",
            "KID": "0.3000",
            "precision": "20.0 %",
            "recall": "10.0 %",
        },
    ]


def test_near_copies(page):
    what, value = "distance to the nearest training image", "pixels, 0 to 1"
    assert page.table_of(what) == [
        {what: "median of generated images", value: "0.1600"},
        {what: "median of held-out real images", value: "0.1200"},
        {what: "nearer than this is a near-copy", value: "0.0800"},
    ]
    assert "Near-copies: 3 (3.0 % of the generated images)." in page.texts


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
        {"loss on": "training images", "nats a code": "1.500"},
        {"loss on": "held-out images", "nats a code": "2.500"},
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
    real, reconstructed, prompt, untuned, marquee, loss = page.pictures
    assert real == "Real images"
    assert reconstructed == "Real images, through the tokenizer and back"
    assert prompt == "Generated with the tuned prompt"
    assert untuned == "Generated without tuning"
    assert marquee.startswith("Every image begins under one instance's prompt and ends under its")
    assert loss.startswith("Loss while tuning.")
    found = [page.pictures[caption][-1] for caption in page.pictures]
    # Numbers of the fixture's names: real is its last, untuned its first.
    assert found == [5, 4, 2, 0, 1, 3]


def test_methods_of_other_runs_have_their_own_words(tmp_path):
    scores = {"prompt": 0.5, "scratch": 0.25, "full": 0.75}
    result = RunResult.from_json({"accuracy": scores})
    transfer.transfer_report(tmp_path / "r.html", result, {}, origins=ORIGINS)
    assert read(tmp_path / "r.html").table_of("images") == [
        {"images": "generated with the tuned prompt", "accuracy": "50.0 %"},
        {"images": "generated after full fine-tuning", "accuracy": "75.0 %"},
        {"images": "generated by a model trained from scratch", "accuracy": "25.0 %"},
    ]
