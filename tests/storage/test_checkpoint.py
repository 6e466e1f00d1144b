"""Checkpoints: what is kept, and what a full disk or a damaged folder says."""

import dataclasses
import errno
import os
import pathlib
import re
import resource
import shutil
import time
import unittest.mock

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from maskgit_prompt.errors import UserError
from maskgit_prompt.storage import checkpoint
from maskgit_prompt.tuning import train
from tests import training

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def toy(step: int, mesh=None, size: int = 3) -> train.TrainState:
    """A state whose numbers say its step, with and without an average."""
    x = np.full(size, step, np.float32)
    state = train.TrainState(np.int32(step), {"prompt": {"x": x}}, ({"mu": 2 * x}, ()), {"x": -x})
    return jax.device_put(state, jax.NamedSharding(mesh or training.mesh(), jax.P()))


def one_line(error: pytest.ExceptionInfo) -> str:
    message = str(error.value)
    assert "\n" not in message and len(message) < 600
    return message


def test_every_second_step_is_saved_and_two_are_kept(tmp_path):
    with checkpoint.manager(tmp_path, every=2) as manager:
        saved = [step for step in range(1, 8) if checkpoint.save(manager, step, toy(step))]
        assert saved == [2, 4, 6]
        assert checkpoint.save(manager, 7, toy(7), force=True)
        assert not checkpoint.save(manager, 7, toy(7), force=True)  # it is there
    with checkpoint.manager(tmp_path, every=2) as manager:
        assert manager.all_steps() == [6, 7]
        training.assert_same(checkpoint.restore(manager, toy(0)), toy(7))
        training.assert_same(checkpoint.restore(manager, toy(0), step=6), toy(6))


def test_restored_onto_another_mesh(tmp_path):
    like = toy(0, training.mesh(2, 4))
    with checkpoint.manager(tmp_path, every=1) as manager:
        checkpoint.save(manager, 1, toy(1))
        checkpoint.wait(manager)
        found = checkpoint.restore(manager, like)
    training.assert_same(found, toy(1))
    assert all(
        x.sharding == y.sharding for x, y in zip(*map(jax.tree.leaves, (found, like)), strict=True)
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda state: toy(0, size=4),
        lambda state: state.replace(ema=None),
        lambda state: state.replace(trainable={"prompt": {"y": state.trainable["prompt"]["x"]}}),
    ],
    ids=["shape", "missing", "renamed"],
)
def test_a_state_of_other_names_or_shapes(tmp_path, change):
    with checkpoint.manager(tmp_path, every=1) as manager:
        checkpoint.save(manager, 1, toy(1))
        checkpoint.wait(manager)
        with pytest.raises(UserError, match=f"checkpoint {tmp_path}/1 cannot be read") as error:
            checkpoint.restore(manager, change(toy(0)))
    one_line(error)


@dataclasses.dataclass
class Older:
    """The state of versions that knew no stats and no players."""

    step: jax.Array
    trainable: dict
    opt: tuple
    ema: dict | None


@pytest.mark.parametrize("ema", [True, False])
def test_fields_that_came_later_change_no_file(tmp_path, ema):
    new = toy(1) if ema else toy(1).replace(ema=None)
    old = Older(new.step, new.trainable, new.opt, new.ema)
    like = toy(0) if ema else toy(0).replace(ema=None)
    for name, saved in (("old", old), ("new", new)):
        for expected, wanted in (
            (new, like),
            (old, Older(like.step, like.trainable, like.opt, like.ema)),
        ):
            folder = tmp_path / f"{name} {type(wanted).__name__}"
            with checkpoint.manager(folder, every=1) as manager:
                checkpoint.save(manager, 1, saved)
                checkpoint.wait(manager)
                found = checkpoint.restore(manager, wanted)
            assert type(found) is type(expected)
            training.assert_same(vars(found), vars(expected))


# --- Damaged -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("saved")
    with checkpoint.manager(folder, every=1) as manager:
        for step in (1, 2):
            checkpoint.save(manager, step, toy(step, size=1000))
    return folder


def files(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_truncated_checkpoint(saved, tmp_path):
    folder = tmp_path / "checkpoints"
    shutil.copytree(saved, folder)
    assert len(files(folder / "2")) > 5
    for path in files(folder / "2"):
        os.truncate(path, path.stat().st_size // 2)
    with checkpoint.manager(folder, every=1) as manager, pytest.raises(UserError) as error:
        checkpoint.restore(manager, toy(0, size=1000))
    message = one_line(error)
    assert re.match(
        rf"checkpoint {folder}/2 cannot be read \(\w+: .*\); delete that folder to resume from "
        "step 1, or",
        message,
    )
    # The way out.
    shutil.rmtree(folder / "2")
    with checkpoint.manager(folder, every=1) as manager:
        training.assert_same(checkpoint.restore(manager, toy(0, size=1000)), toy(1, size=1000))


@pytest.mark.parametrize("size", ["half", "empty", "gone"])
def test_no_damage_gives_wrong_numbers(saved, tmp_path, size):
    """Each file in turn: the state is restored to the bit, or refused in one line."""
    refused = 0
    for path in files(saved / "2"):
        folder = tmp_path / str(refused) / path.name
        shutil.copytree(saved, folder)
        broken = folder / path.relative_to(saved)
        if size == "gone":
            broken.unlink()
        else:
            os.truncate(broken, path.stat().st_size // 2 if size == "half" else 0)
        with checkpoint.manager(folder, every=1) as manager:
            latest = manager.latest_step()
            try:
                found = checkpoint.restore(manager, toy(0, size=1000))
                training.assert_same(found, toy(latest, size=1000))
            except UserError as error:
                assert f"checkpoint {folder}/{latest} cannot be read" in str(error)
                assert "\n" not in str(error)
                refused += 1
        shutil.rmtree(folder)
    assert refused


def test_flipped_bits_are_told_or_change_nothing(saved, tmp_path):
    """One bit in each quarter of each file: the state is restored to the bit, or refused."""
    folder, told = tmp_path / "checkpoints", []
    shutil.copytree(saved, folder)
    for path in files(folder / "2"):
        whole = path.read_bytes()
        for quarter in range(4 if whole else 0):
            data = bytearray(whole)
            data[len(data) * quarter // 4] ^= 1 << quarter
            path.write_bytes(data)
            with checkpoint.manager(folder, every=1) as manager:
                try:
                    found = checkpoint.restore(manager, toy(0, size=1000), step=2)
                    training.assert_same(found, toy(2, size=1000))
                except UserError as error:
                    assert f"checkpoint {folder}/2 " in str(error) and "\n" not in str(error)
                    told.append(str(error))
        path.write_bytes(whole)
    assert len(told) >= 4


def test_other_numbers_than_were_saved_are_told(saved, tmp_path, monkeypatch):
    """What no reader notices: the numbers of a whole file are others."""
    folder = tmp_path / "checkpoints"
    wrong = checkpoint.checksums(checkpoint._fields(toy(1).replace(ema={"x": 0 * toy(1).ema["x"]})))
    monkeypatch.setattr(checkpoint, "checksums", lambda tree: wrong)
    with checkpoint.manager(folder, every=1) as manager:
        checkpoint.save(manager, 1, toy(1))
        checkpoint.wait(manager)
        monkeypatch.undo()
        with pytest.raises(UserError) as error:
            checkpoint.restore(manager, toy(0))
    assert one_line(error) == (
        f"checkpoint {folder}/1 is damaged (1 of its 4 arrays have another checksum than when they "
        "were saved); use another workdir"
    )


def test_a_checkpoint_without_checksums_is_read(tmp_path):
    """As earlier versions wrote it."""
    with checkpoint.manager(tmp_path, every=1) as manager:
        fields = checkpoint._fields(toy(1))
        manager.save(1, args=ocp.args.StandardSave(fields))
        manager.wait_until_finished()
        assert "checksums" not in manager.item_metadata(1).tree
        training.assert_same(checkpoint.restore(manager, toy(0)), toy(1))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "int32", "uint8", "bool"])
def test_every_bit_and_its_place_are_in_the_checksum(dtype):
    bits = {"float32": "u4", "int32": "u4", "bfloat16": "u2", "float16": "u2"}.get(dtype, "u1")
    x = np.array([[1, 0, 0], [0, 1, 1]], dtype)
    sums = lambda x: checkpoint.checksums({"x": jax.numpy.asarray(x)})[0].tolist()
    found = [sums(x), sums(x[::-1]), sums(x[:, ::-1])]
    width = 1 if dtype == "bool" else 8 * x.dtype.itemsize
    for bit in range(width):
        other = x.view(bits).copy()
        other[1, 2] ^= np.array(1 << bit, bits)
        found.append(sums(other.view(x.dtype)))
    assert len(set(map(tuple, found))) == len(found)
    first, _ = zip(*found[3:], strict=True)
    assert len(set(first)) == width


def test_the_checksum_is_the_same_on_any_mesh():
    x = np.random.default_rng(0).standard_normal((8, 6, 4), np.float32)
    plain = checkpoint.checksums({"x": x}).tolist()
    mesh = training.mesh(2, 2, 2)
    for spec in (jax.P(), jax.P("data"), jax.P(("data", "fsdp"), "tensor")):
        placed = jax.device_put(x, jax.NamedSharding(mesh, spec))
        assert checkpoint.checksums({"x": placed}).tolist() == plain


# --- A disk that refuses -------------------------------------------------------------------------


def test_disk_full_at_the_start_of_a_save(tmp_path, monkeypatch):
    def save(step, **kwargs):
        raise FULL

    with pytest.raises(UserError) as error, checkpoint.manager(tmp_path, every=2) as manager:
        checkpoint.save(manager, 2, toy(2))
        checkpoint.wait(manager)
        monkeypatch.setattr(manager, "save", save)
        checkpoint.save(manager, 4, toy(4))
    assert one_line(error) == (
        f"cannot save a checkpoint in {tmp_path}: No space left on device; step 2 is kept; "
        "free some space and start again to resume"
    )


def test_disk_full_in_the_background(tmp_path, monkeypatch):
    def wait():
        raise FULL

    message = "No space left on device; none was saved before"
    with pytest.raises(UserError, match=message), checkpoint.manager(tmp_path, every=2) as manager:
        monkeypatch.setattr(manager, "wait_until_finished", wait)


def test_an_error_that_is_no_refusal_is_not_called_one():
    manager = unittest.mock.Mock()
    manager.save.side_effect = ValueError("Checkpoint for step 1 already exists.")
    with pytest.raises(ValueError, match="already exists"):
        checkpoint.save(manager, 1, toy(1))


class FileLimit:
    """Within it no file can grow past 64 KiB, as on a disk that is full."""

    def __enter__(self):
        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, self._before[1]))

    def __exit__(self, *_):
        resource.setrlimit(resource.RLIMIT_FSIZE, self._before)


def noise(step: int) -> train.TrainState:
    """A state of 400 kB that does not compress."""
    x = np.random.default_rng(step).random(100_000, np.float32)
    return toy(step).replace(trainable={"prompt": {"x": jax.numpy.asarray(x)}})


@pytest.mark.parametrize("where", ["wait", "save", "exit"])
def test_a_disk_that_really_refuses(tmp_path, where):
    """TensorStore's own error, from the background, at whatever is called next."""
    with pytest.raises(UserError) as error, checkpoint.manager(tmp_path, every=1) as manager:
        checkpoint.save(manager, 1, noise(1))
        checkpoint.wait(manager)
        with FileLimit():
            checkpoint.save(manager, 2, noise(2))
            if where == "wait":
                checkpoint.wait(manager)
            if where == "save":
                checkpoint.save(manager, 3, noise(3))
            while manager.is_saving_in_progress():  # "exit": nobody asks before
                time.sleep(0.01)
    assert one_line(error) == (
        f"cannot save a checkpoint in {tmp_path}: File too large; step 1 is kept; "
        "free some space and start again to resume"
    )
    with checkpoint.manager(tmp_path, every=1) as manager:
        training.assert_same(checkpoint.restore(manager, noise(0)), noise(1))
        assert checkpoint.save(manager, 2, noise(2))
    with checkpoint.manager(tmp_path, every=1) as manager:
        training.assert_same(checkpoint.restore(manager, noise(0)), noise(2))


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "checkpoints"
    message = f"cannot keep checkpoints in {folder}: Not a directory; use another workdir"
    with pytest.raises(UserError, match=message), checkpoint.manager(folder, every=1):
        raise AssertionError


def test_the_loop_ends_with_the_last_checkpoint_kept(tmp_path, monkeypatch):
    real = checkpoint.ocp.CheckpointManager.save

    def save(self, step, **kwargs):
        if step == 4 and self.should_save(step):
            raise FULL
        return real(self, step, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.ocp.CheckpointManager, "save", save)
        with pytest.raises(UserError, match="No space left on device; step 2 is kept"):
            training.run(tmp_path, training.mesh())
    resumed = []
    training.run(tmp_path, training.mesh(), log=resumed.append)
    assert resumed == [3, 4, 5, 6]
