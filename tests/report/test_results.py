"""results.json is strict and sorted, and a damaged one is told."""

import json

import pytest

from maskgit_prompt.errors import UserError
from maskgit_prompt.metrics.run_result import RunResult
from maskgit_prompt.metrics.scores import Scores
from maskgit_prompt.report import results


def test_what_is_written_is_sorted_by_name(tmp_path):
    results.write_json(tmp_path / "r.json", {"b": 1, "a": 2})
    assert (tmp_path / "r.json").read_text() == '{\n  "a": 2,\n  "b": 1\n}\n'


FOUND = RunResult(scores={"prompt": Scores({"accuracy": 0.5})}, tune_loss=1.5, steps=7)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"seconds": {}', '"seconds": 3, "data": 7'),
        lambda text: text.replace('"images": {', '"imagas": {'),
        lambda text: "[]",
    ],
    ids=["cut", "a number for a struct", "another name", "a list"],
)
def test_a_damaged_one_is_told(change, tmp_path):
    path = tmp_path / "results.json"
    results.write_json(path, FOUND.to_json())
    text = path.read_text()
    assert change(text) != text
    path.write_text(change(text))
    with pytest.raises(UserError) as error:
        results.read_run(tmp_path)
    message = str(error.value)
    assert message.startswith(f"{path} is damaged (") and "\n" not in message
    assert message.endswith("report.html and results.json, and start that run again")


def test_what_is_read_is_what_was_found(tmp_path):
    results.write_json(tmp_path / "results.json", FOUND.to_json())
    found = results.read_run(tmp_path)
    assert (found.tune_loss, found.steps) == (1.5, 7)
    assert json.loads((tmp_path / "results.json").read_text()) == results.to_json(found.to_json())
