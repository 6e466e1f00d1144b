"""results.json is strict and sorted."""

from maskgit_prompt.report import results


def test_what_is_written_is_sorted_by_name(tmp_path):
    results.write_json(tmp_path / "r.json", {"b": 1, "a": 2})
    assert (tmp_path / "r.json").read_text() == '{\n  "a": 2,\n  "b": 1\n}\n'
