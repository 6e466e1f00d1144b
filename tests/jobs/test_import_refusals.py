"""What the import command refuses, and what it leaves behind when it is stopped."""

import errno
import json
import os
import pathlib
import signal

import numpy as np
import pytest

from maskgit_prompt.storage import files as whole
from maskgit_prompt.storage import safetensors_stream, sniff
from tests.golden_models import Case
from tests.importers.pytorch_files import Call, write_zip
from tests.jobs.importing import (
    IMPORT,
    break_file,
    fingerprint,
    imported,
    maskgit_files,
    prompt_flags,
    write_flax,
    write_torch,
)
from tests.jobs.running import run


def test_prompt_needs_its_backbone(capsys, tmp_path):
    case = Case("maskgit/cond_transformer_tiny")
    inside = {name: x for name, x in case.parameters.items() if "/prompt_" in name}
    flags = (
        IMPORT,
        "--config.format=maskgit",
        f"--config.source={write_flax(tmp_path / 'checkpoint_3', inside)}",
        f"--workdir={tmp_path / 'prompt'}",
    )
    done = run(capsys, *flags)
    assert done.code == 2 and "give --config.backbone=FOLDER" in done.error()
    done = run(capsys, *flags, "--config.backbone=mini")
    assert done.code == 1
    assert "prompts of width 32, but the transformer of mini has 192" in done.error()
    assert not (tmp_path / "prompt").exists()


@pytest.mark.parametrize(
    "how, messages",
    [
        (
            "extra",
            [
                "Head_0/bias (3,) is unexpected",
                "params/TransformerLayer_3/Mlp_0/layer_output/bias (32,) is unexpected",
            ],
        ),
        (
            "renamed",
            [
                "mlm_dance/kernel (32, 32) is unexpected",
                "params/MlmLayer_0/mlm_dense/kernel is missing",
            ],
        ),
        ("misshapen", ["params/MlmLayer_0/mlm_dense/kernel has shape (32, 31), expected (32, 32)"]),
        ("nan", ["(transformer): params/MlmLayer_0/mlm_dense/kernel holds NaN or infinite"]),
        ("other model", ["holds no network of MaskGIT"]),
        ("truncated", ["checkpoint"]),
        ("web page", ["a web page"]),
        ("pickle", ["is a pickle"]),
    ],
)
def test_bad_file(how, messages, capsys, tmp_path):
    file = break_file(tmp_path, how)
    folder = tmp_path / "model"
    done = run(
        capsys,
        IMPORT,
        "--config.format=maskgit",
        f"--config.source={file}",
        "--config.codebook=64",
        f"--workdir={folder}",
    )
    assert done.code == 1
    error = done.error()
    assert all(message in error for message in messages), error
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_a_file_that_wants_to_run_code(capsys, tmp_path):
    path = tmp_path / "last.ckpt"
    write_zip(path, {"state_dict": {}, "evil": Call("os.system", "touch ran")})
    done = run(
        capsys,
        IMPORT,
        "--config.format=taming",
        f"--config.source={path}",
        f"--workdir={tmp_path / 'model'}",
    )
    assert done.code == 1 and "os.system" in done.error()
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize(
    "flags, message",
    [
        (
            ("--config.format=gan",),
            "config.format = 'gan', expected convnext, inception, maskgit, maskgit-torch, ofa, ",
        ),
        (("--config.format=maskgit",), "config.source is empty; give a checkpoint"),
        (("--config.format=maskgit", "--config.source=nope"), "config.source: no file 'nope'"),
        (
            ("--config.format=maskgit", "--config.image_size=-64"),
            "config.image_size = -64, expected 0",
        ),
        (
            ("--config.format=maskgit", "--config.store_dtype=int8"),
            "config.store_dtype = 'int8', expected float32, bfloat16, float16",
        ),
    ],
)
def test_wrong_use(flags, message, capsys, tmp_path):
    done = run(capsys, IMPORT, *flags, f"--workdir={tmp_path / 'model'}")
    assert done.code == 2 and message in done.error()
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_kept(capsys, tmp_path):
    files = maskgit_files(tmp_path)
    folder = imported(capsys, tmp_path, "maskgit", files[0], "--config.image_size=64")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    other = dict(Case("maskgit/tokenizer_tiny").parameters)
    other["params/quantizer/codebook"] = other["params/quantizer/codebook"] + 1
    file = write_flax(tmp_path / "other", other)
    flags = (IMPORT, "--config.format=maskgit", f"--config.source={file}")
    done = run(capsys, *flags, f"--workdir={folder}")
    assert done.code == 2 and "has another tokenizer already" in done.error()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "cat.jpg").write_bytes(b"")
    done = run(capsys, *flags, f"--workdir={photos}")
    assert done.code == 2 and "holds something other than a backbone" in done.error()
    assert [path.name for path in photos.iterdir()] == ["cat.jpg"]


def test_a_killed_import_leaves_nothing_that_looks_finished(capsys, tmp_path, monkeypatch):
    files = maskgit_files(tmp_path)
    write = safetensors_stream.write

    def killed(path, specs, arrays):
        if "transformer" in path.name:
            raise KeyboardInterrupt
        return write(path, specs, arrays)

    monkeypatch.setattr(safetensors_stream, "write", killed)
    flags = (IMPORT, "--config.format=maskgit", f"--config.source={','.join(files)}")
    done = run(capsys, *flags, f"--workdir={tmp_path / 'model'}")
    assert done.code == 130
    assert done.err.endswith(
        "interrupted before the import was done; run the same command to start it again\n"
    )
    assert not (tmp_path / "model").exists()
    monkeypatch.undo()
    # What a kill -9 leaves is cleared away by the next import.
    (tmp_path / ".model.partial").mkdir()
    (tmp_path / ".model.partial" / "config.json").write_text(json.dumps({}))
    assert run(capsys, *flags, f"--workdir={tmp_path / 'model'}").code == 0
    assert not (tmp_path / ".model.partial").exists()
    assert fingerprint(tmp_path / "model")


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda x: x.astype(np.complex64), "head/dense/bias is of complex64, expected floating"),
        (lambda x: x.astype(np.int32), "mlm_dense/bias is of int32, expected floating point"),
        (lambda x: x.astype(np.float64) + 1e300, "or larger ones than float32 has"),
    ],
)
def test_numbers_of_another_kind(change, message, capsys, tmp_path):
    flat = dict(Case("maskgit/transformer_tiny").parameters)
    name = "params/MlmLayer_0/mlm_dense/bias"
    flat[name] = change(flat[name])
    flags = (IMPORT, "--config.format=maskgit", "--config.codebook=64")
    file = write_flax(tmp_path / "checkpoint", flat)
    done = run(capsys, *flags, f"--config.source={file}", f"--workdir={tmp_path / 'model'}")
    message = message.replace("head/dense", "MlmLayer_0/mlm_dense")
    assert done.code == 1 and message in done.error()
    assert done.err.count("\n") == 1
    assert not (tmp_path / "model").exists()


def test_parts_that_do_not_belong_together(capsys, tmp_path):
    folder = imported(
        capsys,
        tmp_path,
        "taming",
        write_torch(tmp_path / "last.ckpt", Case("taming/vqgan_f16_tiny").parameters),
        "--config.image_size=64",
    )
    before = (folder / "config.json").read_bytes()
    flags = (IMPORT, "--config.format=maskgit", f"--workdir={folder}")
    done = run(capsys, *flags, f"--config.source={maskgit_files(tmp_path)[1]}")
    assert done.code == 1
    assert "a vqgan tokenizer and a masked transformer are of different projects" in done.error()
    assert (folder / "config.json").read_bytes() == before


def test_numbers_of_codes_that_differ(capsys, tmp_path):
    files = ",".join(maskgit_files(tmp_path))
    flags = (IMPORT, "--config.format=maskgit", f"--config.source={files}", "--config.codebook=60")
    done = run(capsys, *flags, f"--workdir={tmp_path / 'model'}")
    assert done.code == 1
    assert "the tokenizer has 64 codes, the transformer 60: they do not belong" in done.error()


def test_a_prompt_file_that_is_there_is_kept(capsys, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "prompt.safetensors").write_bytes(b"tuned for hours")
    inside = {
        name: x
        for name, x in Case("maskgit/cond_transformer_tiny").parameters.items()
        if "/prompt_" in name
    }
    file = write_flax(tmp_path / "checkpoint_3", inside)
    flags = (IMPORT, "--config.format=maskgit", f"--config.source={file}", "--config.backbone=mini")
    done = run(capsys, *flags, f"--workdir={tmp_path / 'run'}")
    assert done.code == 2
    assert "holds a prompt already (prompt.safetensors); use another" in done.error()
    assert (tmp_path / "run" / "prompt.safetensors").read_bytes() == b"tuned for hours"


def test_sigterm_leaves_nothing_and_says_so(capsys, tmp_path, monkeypatch):
    files = maskgit_files(tmp_path)
    write = safetensors_stream.write

    def stopped(path, specs, arrays):
        if "transformer" in path.name:
            signal.raise_signal(signal.SIGTERM)
        return write(path, specs, arrays)

    monkeypatch.setattr(safetensors_stream, "write", stopped)
    before = signal.getsignal(signal.SIGTERM)
    flags = (IMPORT, "--config.format=maskgit", f"--config.source={','.join(files)}")
    done = run(capsys, *flags, f"--workdir={tmp_path / 'model'}")
    assert (done.code, signal.getsignal(signal.SIGTERM)) == (143, before)
    assert "stopped before the import was done; run the same command to start" in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "tokenizer_checkpoint",
        "transformer_checkpoint",
    ]


def test_a_kill_between_the_renames(capsys, tmp_path, monkeypatch):
    """Into a folder that is there and empty, as a mount point may be."""
    folder = tmp_path / "model"
    folder.mkdir()
    replace = os.replace

    def killed(old, new):
        if new.name == "config.json":
            raise KeyboardInterrupt
        replace(old, new)

    monkeypatch.setattr(os, "replace", killed)
    flags = (IMPORT, "--config.format=maskgit", f"--workdir={folder}")
    done = run(capsys, *flags, f"--config.source={','.join(maskgit_files(tmp_path))}")
    assert done.code == 130 and (folder / "tokenizer.safetensors").exists()
    monkeypatch.undo()
    assert run(capsys, *flags, f"--config.source={maskgit_files(tmp_path)[1]}",
               "--config.codebook=64").code == 0  # fmt: skip
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "transformer.safetensors",
    ]


@pytest.mark.parametrize("kind", ["maskgit", "maskgit-torch", "taming"])
def test_a_file_that_may_not_be_read(kind, capsys, tmp_path, monkeypatch):
    file = tmp_path / "last.ckpt"
    file.write_bytes(b"")

    def forbidden(*_):
        raise PermissionError(errno.EACCES, "Permission denied", str(file))

    monkeypatch.setattr(sniff, "open", forbidden, raising=False)
    flags = (IMPORT, f"--config.format={kind}", f"--config.source={file}")
    done = run(capsys, *flags, f"--workdir={tmp_path / 'model'}")
    assert done.code == 1
    assert f"cannot read {file}: Permission denied; expected a" in done.error()


@pytest.mark.parametrize("what", ["exists", "is_dir", "iterdir", "glob"])
def test_a_folder_that_may_not_be_searched(what, capsys, tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()

    def forbidden(path, *_):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(pathlib.Path, what, forbidden)
    flags = (IMPORT, "--config.format=taming", f"--config.source={tmp_path}")
    done = run(capsys, *flags, f"--workdir={tmp_path / 'model'}")
    assert done.code == 1
    assert f"cannot use {tmp_path}" in done.error()
    assert "Permission denied; check its permissions and those of the folders" in done.error()


def test_a_folder_in_place_of_a_file(capsys, tmp_path):
    maskgit_files(tmp_path)
    flags = (IMPORT, "--config.format=maskgit", f"--config.source={tmp_path}")
    done = run(capsys, *flags, f"--workdir={tmp_path / 'model'}")
    assert done.code == 2
    assert "give one of its files (tokenizer_checkpoint, transformer_checkpoint)" in done.error()


def test_a_transformer_with_the_tokenizer_of_another(capsys, tmp_path):
    """64 codes, 10 classes and MASK are 75 words."""
    flat = dict(Case("maskgit/tokenizer_tiny").parameters)
    book = flat["params/quantizer/codebook"]  # [64, 16]
    large = flat | {"params/quantizer/codebook": np.concatenate([book, book])}
    files = [write_flax(tmp_path / "large", large), maskgit_files(tmp_path)[1]]
    flags = (IMPORT, "--config.format=maskgit", f"--workdir={tmp_path / 'model'}")
    done = run(capsys, *flags, f"--config.source={','.join(files)}")
    assert done.code == 1
    assert "has 75 words, but the tokenizer makes 128 codes: they do not belong" in done.error()
    assert "give the tokenizer it was trained with" in done.error()
    # One with fewer codes could be its own: what is concluded is said.
    small = write_flax(tmp_path / "small", flat | {"params/quantizer/codebook": book[:48]})
    done = run(capsys, *flags, f"--config.source={small},{files[1]}")
    assert done.code == 0
    assert "75 words are taken as 48 codes, 26 classes and MASK; the published" in done.err


@pytest.mark.parametrize(
    "flag, message",
    [
        ("--config.image_size=128", "the tokenizer of this very file, but with image_size 64"),
        ("--config.store_dtype=float16", "but with store_dtype float32"),
    ],
)
def test_other_options_for_what_is_there(flag, message, capsys, tmp_path):
    file = maskgit_files(tmp_path)[0]
    imported(capsys, tmp_path, "maskgit", file, "--config.image_size=64")
    flags = (IMPORT, "--config.format=maskgit", f"--workdir={tmp_path / 'model'}")
    done = run(capsys, *flags, f"--config.source={file}", flag)
    assert done.code == 2 and message in done.error()


def test_a_renamed_convolution_of_a_tokenizer(capsys, tmp_path):
    flat = dict(Case("maskgit/tokenizer_tiny").parameters)
    for old, new, message in (
        ("decoder/Conv_3/", "decoder/Conv_three/", "params/decoder/Conv_3/kernel is missing"),
        ("decoder/Conv_5/", "decoder/Conv_five/", "12 residual blocks in its encoder"),
        ("encoder/ResBlock_4/Conv_1/", "encoder/ResBlock_4/Conv_b/", "ResBlock_4/Conv_1/kernel is"),
    ):
        path = tmp_path / "checkpoint"
        file = write_flax(path, {name.replace(old, new): x for name, x in flat.items()})
        flags = (IMPORT, "--config.format=maskgit", f"--workdir={tmp_path / 'model'}")
        done = run(capsys, *flags, f"--config.source={file}")
        assert done.code == 1
        first = f"(tokenizer) does not fit the model: params/{new}"
        assert first in done.error() and message in done.error()


def test_an_image_size_that_a_label_model_cannot_have(capsys, tmp_path):
    file = write_torch(tmp_path / "last.ckpt", Case("taming/net2net_tiny").parameters)
    flags = (IMPORT, "--config.format=taming", "--config.heads=2", f"--config.source={file}")
    done = run(capsys, *flags, f"--workdir={tmp_path / 'model'}", "--config.image_size=32")
    assert done.code == 1
    assert "has 16 positions, one per code of an image if a label is" in done.error()
    assert "makes 4 codes; leave --config.image_size out" in done.error()


def test_a_disk_that_is_full_for_a_prompt(capsys, tmp_path, monkeypatch):
    flags = prompt_flags(tmp_path)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(whole.os, "replace", full)
    done = run(capsys, *flags)
    assert done.code == 1 and "No space left on device; free some space" in done.error()
    assert not (tmp_path / "prompt").exists()
