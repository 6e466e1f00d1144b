"""The study of ways to decode with stand-ins: whose numbers stand where, which is the best."""

import csv
import io
import json

import jax
import pytest

from maskgit_prompt.config import defaults
from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.importers import obtain
from maskgit_prompt.jobs import sample_study
from maskgit_prompt.metrics.scores import Scores
from maskgit_prompt.tasks.generation import images
from maskgit_prompt.tasks.generation.plan import parts
from maskgit_prompt.tuning import tuned_prompt
from maskgit_prompt.tuning.tuned_file import TunedOn
from maskgit_prompt.tuning.tuned_prompt import TunedPrompt
from tests.jobs import stand_ins
from tests.report.reading import capture, read

# By steps and seed; the run's own setting has 12 steps.
FRECHET = {(12, 7): 6.0, (8, 7): 5.0, (24, 7): 4.5, (12, 8): 6.2, (24, 8): 5.9}


@pytest.fixture
def run(tmp_path):
    """The folder of a run, with seed 3."""
    home = tmp_path / "run"
    home.mkdir()
    config, data = stand_ins.config(), stand_ins.data()
    config.seed = 3
    (home / "config.json").write_text(config.to_json_best_effort())
    digests = {words: data.digest(rows) for words, rows in parts(stand_ins.plan(config)).items()}
    (home / "images.json").write_text(json.dumps(digests))
    instances = tuple(data.images.ids[row] for row in data.tune)
    prompt = TunedPrompt(
        stand_ins.prompt_config(),
        stand_ins.prompt_tree(),
        stand_ins.CLASSES,
        TunedOn("tiny", stand_ins.FINGERPRINT, tuned_prompt.IMPLIED),
        instances,
        tuple(data.labels(data.tune).tolist()),
        config.sample.to_dict(),
    )
    tuned_prompt.save(home / "prompt.safetensors", prompt)
    return home


class Scorer(stand_ins.Scorer):
    """Knows the setting by the sampler that was made last."""

    def __call__(self, images, labels):
        assert labels.tolist() == [0, 0, 0, 1, 1, 1]
        sampler = stand_ins.Sampler.made[-1]
        seed = (
            int(jax.random.key_data(sampler.asked["sample"].key)[-1]) - 2
        )  # of the stream of images
        found = FRECHET[sampler.config.steps, seed]
        return Scores(
            {"frechet": found, "accuracy": found / 10},
            {"frechet": (found - 0.5, found + 0.5)},
        )


def study(monkeypatch, run, home, asked: list | None = None, **changes):
    """Runs the job; gives the samplers that were made. asked: takes the backbone that it needed."""

    def tuned_on(config, files):
        if asked is not None:
            asked.append(config.backbone)
        return stand_ins.backbone()

    config = defaults.JOBS["sample_study"]()
    config.prompt, config.seed = str(run), 7
    config.grid.steps = (8, 24)
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    made = stand_ins.decoding(monkeypatch, images)
    capture(monkeypatch)
    monkeypatch.setattr(obtain, "tuned_on", tuned_on)
    monkeypatch.setattr(sample_study, "make_plan", lambda config, *_: stand_ins.plan(config))
    monkeypatch.setattr(sample_study, "encode", lambda *_: stand_ins.Stored())
    monkeypatch.setattr(sample_study, "Scorer", lambda *_: Scorer())
    monkeypatch.setattr(type(stand_ins.backbone().part("transformer")), "placed", lambda *_: {})
    sample_study.run(config, str(home))
    return made


def test_every_setting_has_its_own_scores_and_the_best_is_drawn_once_more(
    monkeypatch, run, tmp_path, capsys
):
    made = study(monkeypatch, run, tmp_path / "study")
    found = json.loads((tmp_path / "study/results.json").read_text())
    assert [(row["setting"], row["frechet"]) for row in found["rows"]] == [
        ("own", 6.0), ("steps=8", 5.0), ("steps=24", 4.5),
    ]  # fmt: skip
    again = [(row["setting"], row["seed"], row["frechet"]) for row in found["again"]]
    assert again == [("own", 8, 6.2), ("steps=24", 8, 5.9)]
    assert found["best"] == {"setting": "steps=24", "by": "frechet", "changes": {"steps": 24}}
    # The first sampler only decodes what is held out.
    assert [sampler.config.steps for sampler in made] == [12, 12, 8, 24, 12, 24]

    out = capsys.readouterr().out
    assert (
        "best of 3 settings by Fréchet distance: steps=24, 4.5 [4, 5], the run's own 6; from" in out
    )
    assert "from other noise 5.9, the run's own 6.2" in out
    assert out.endswith(
        f"--config.prompt={run}/prompt.safetensors --workdir=runs/more --config.sample.steps=24\n"
    )

    rows = list(csv.DictReader(io.StringIO((tmp_path / "study/results.csv").read_text())))
    assert [(row["setting"], row["steps"], row["seed"]) for row in rows] == [
        ("own", "", "7"), ("steps=8", "8", "7"), ("steps=24", "24", "7"),
        ("own", "", "8"), ("steps=24", "24", "8"),
    ]  # fmt: skip
    first = {name: rows[0][name] for name in ("frechet", "frechet_low", "frechet_high", "calls")}
    assert first == {
        "frechet": "6.0", "frechet_low": "5.5", "frechet_high": "6.5", "calls": "12.0"
    }  # fmt: skip

    page = read(tmp_path / "study/report.html")
    table, second = page.tables_of("setting")[:2]
    assert [row["setting"] for row in table] == ["steps=24", "steps=8", "own"]
    assert [row["setting"] for row in second] == ["own", "steps=24"]
    assert list(page.pictures) == [
        "Fréchet distance 4.5, the best: steps=24",
        "Fréchet distance 5: steps=8",
        "Fréchet distance 6: own",
    ]
    assert page.texts[0].startswith("Best of 3 settings by Fréchet distance")
    # 5 lies in the best one's interval, 6 does not.
    fewest = "Fewest calls among settings within the best one's interval: steps=8, with 8 in place"
    assert any(text.startswith(fewest) for text in page.texts)


def test_a_best_that_might_be_luck_is_said_to_be_near(monkeypatch, run, tmp_path, capsys):
    monkeypatch.setitem(FRECHET, (12, 7), 5.0)
    changes = {"grid__temperature": (0.5,), "grid__steps": (24, 12)}
    study(monkeypatch, run, tmp_path / "study", **changes)
    out = capsys.readouterr().out
    assert "4.5 [4, 5], the run's own 5, within that interval; from other noise 5.9" in out
    # Settings keep the names of their keys in one order, from a file as well.
    study(monkeypatch, run, tmp_path / "study", **changes)
    found = json.loads((tmp_path / "study/results.json").read_text())
    assert found["again"][1]["setting"] == "steps=24,temperature=0.5"
    flags = "--config.sample.steps=24 --config.sample.temperature=0.5\n"
    assert out.endswith(flags) and capsys.readouterr().out.endswith(flags)


def test_finished_settings_are_kept(monkeypatch, run, tmp_path):
    study(monkeypatch, run, tmp_path / "study")
    (tmp_path / "study/settings/steps=8,seed=7/row.json").unlink()
    made = study(monkeypatch, run, tmp_path / "study")
    assert [sampler.config.steps for sampler in made] == [12, 8]


def test_another_score_may_decide_and_the_run_may_be_the_best(monkeypatch, run, tmp_path, capsys):
    study(monkeypatch, run / "prompt.safetensors", tmp_path / "study", by="accuracy")
    out = capsys.readouterr().out  # the accuracies are 0.6, 0.5 and 0.45
    assert "best of 3 settings by accuracy: the run's own, 60" in out
    assert "--config.sample" not in out
    again = json.loads((tmp_path / "study/results.json").read_text())["again"]
    assert [(row["setting"], row["seed"]) for row in again] == [("own", 8)]
    texts = read(tmp_path / "study/report.html").texts
    assert not any(text.startswith("Fewest calls") for text in texts)


def test_a_score_that_nothing_has_decides_nothing(monkeypatch, run, tmp_path):
    with pytest.raises(UserError, match=r"config.by = 'kid', but no .* \(accuracy, frechet\)"):
        study(monkeypatch, run, tmp_path / "study", by="kid")


def test_the_backbone_is_the_runs_unless_another_place_is_given(monkeypatch, run, tmp_path):
    asked = []
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"backbone": "models/mine"}))
    study(monkeypatch, run, tmp_path / "study", asked)
    study(monkeypatch, run, tmp_path / "other", asked, backbone="elsewhere")
    (run / "backbone").mkdir()
    study(monkeypatch, run, tmp_path / "tuned", asked)
    assert asked == ["models/mine", "elsewhere", str(run / "backbone")]


# --- What is refused ------------------------------------------------------------------------------


def test_other_images_than_the_runs(monkeypatch, run, tmp_path):
    (run / "images.json").write_text('{"held out": "0123"}')
    with pytest.raises(UsageError, match="on other images or labels .* held out were 0123, are"):
        study(monkeypatch, run, tmp_path / "study")


def test_a_prompt_file_without_its_run(monkeypatch, run, tmp_path):
    (run / "config.json").unlink()
    with pytest.raises(UsageError, match="no config.json beside prompt.safetensors .* give the f"):
        study(monkeypatch, run, tmp_path / "study")


def test_no_run(monkeypatch, tmp_path):
    with pytest.raises(UsageError, match="no run: give its folder"):
        study(monkeypatch, "", tmp_path / "study")


def test_a_folder_without_a_prompt(monkeypatch, tmp_path):
    with pytest.raises(UsageError, match="prompt.safetensors"):
        study(monkeypatch, tmp_path, tmp_path / "study")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"job": "compare"}, "in a workdir of the job 'compare', expected one of 'run'"),
        ({"later": 1}, "config.later, which this version does not know"),
    ],
)
def test_a_run_of_another_job_or_version(changes, message, monkeypatch, run, tmp_path):
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(UsageError, match=message):
        study(monkeypatch, run, tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_a_run_of_an_earlier_version_has_that_versions_values(monkeypatch, run, tmp_path):
    config = json.loads((run / "config.json").read_text())
    config["job"] = "transfer"
    del config["sample"]["sampler"], config["sample"]["guidance_end"], config["data"]["fit"]
    (run / "config.json").write_text(json.dumps(config))
    made = study(monkeypatch, run, tmp_path / "study")
    assert made[0].config.sampler == "plain" and made[0].config.guidance_end == 1.0
