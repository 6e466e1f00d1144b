"""Prepared data that a test may change."""

import shutil

import pytest

from maskgit_prompt.data.sets import places


@pytest.fixture
def settled(monkeypatch):
    """Files that have just been written are taken for files that will not change again."""
    monkeypatch.setattr(places, "_SETTLED_NS", 0)


@pytest.fixture
def svhn(vtab_data, tmp_path, settled):
    shutil.copytree(vtab_data / "svhn_cropped", tmp_path / "data" / "svhn_cropped")
    return tmp_path / "data"
