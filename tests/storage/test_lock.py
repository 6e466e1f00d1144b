"""Lock files: one holder at a time, others are refused or wait, nothing is left behind."""

import threading

import pytest

from maskgit_prompt.storage import lock


def test_one_holder_at_a_time(tmp_path):
    path = tmp_path / "lock"
    assert lock.owner(path) is None
    with lock.hold(path):
        mine = path.read_text().strip()
        assert lock.owner(path) == mine
        with pytest.raises(lock.Held) as held, lock.hold(path):
            pass
        assert held.value.owner == mine
        assert path.read_text().strip() == mine
    assert not path.exists() and lock.owner(path) is None


def test_a_left_over_file_is_free(tmp_path):
    path = tmp_path / "lock"
    path.write_text("process 1 on host elsewhere since long ago\n")
    assert lock.owner(path) is None
    with lock.hold(path):
        assert "elsewhere" not in path.read_text()


def test_who_waits_is_told_for_whom_and_comes_next(tmp_path):
    path = tmp_path / "lock"
    told, order = [], []
    waits = threading.Event()

    def waiting(owner):
        told.append(owner)
        waits.set()

    def second():
        with lock.hold(path, waiting):
            order.append("second")

    thread = threading.Thread(target=second)
    with lock.hold(path):
        mine = path.read_text().strip()
        thread.start()
        assert waits.wait(20)
        order.append("first")
    thread.join(20)
    assert (told, order) == ([mine], ["first", "second"])
    assert not path.exists()


def test_a_folder_that_is_gone_is_no_matter(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    with lock.hold(folder / "lock"):
        folder.rename(tmp_path / "other")
    assert (tmp_path / "other" / "lock").exists()


def test_the_file_of_another_holder_stays(tmp_path):
    """Its folder was taken away, and another process made it anew and holds it."""
    path = tmp_path / "lock"
    with lock.hold(path):
        path.unlink()
        path.write_text("of another")
    assert path.read_text() == "of another"
