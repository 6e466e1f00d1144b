"""OFA's .pt files through the import command: the network is the reference's."""

import jax
import numpy as np
import pytest
from flax import nnx

from maskgit_prompt import backbones
from tests.golden_models import close
from tests.importers import pytorch_files
from tests.importers.pytorch_files import Call
from tests.jobs.running import ROOT, run
from tests.models import ofa_cases
from tests.models.ofa_cases import case, decode, encode, images

IMPORT = f"--config={ROOT}/configs/import.py"
STACK = 1e-4
WORDS = "encoder.embed_tokens.weight"


def golden() -> dict[str, np.ndarray]:
    return ofa_cases.backbone(case("encdec_tiny"))


def tensors(named: dict[str, np.ndarray]) -> dict:
    """As fairseq stores them: buffers beside the parameters, one table under three names."""
    found = {name: pytorch_files.tensor(np.ascontiguousarray(x)) for name, x in named.items()}
    for name in ("decoder.embed_tokens.weight", "decoder.output_projection.weight"):
        found.setdefault(name, found[WORDS])
    long = pytorch_files.tensor(np.arange(4))
    for stack in ("encoder", "decoder"):
        found[f"{stack}.version"] = pytorch_files.tensor(np.float32([3]))
        for buffer in ("token_rp_bucket", "image_rp_bucket", "image_position_idx"):
            found[f"{stack}.{buffer}"] = long
    return found | {"encoder.embed_images.bn1.num_batches_tracked": long}


def write(path, named: dict, averaged: dict | None = None) -> str:
    """A checkpoint as fairseq's trainer leaves it."""
    extra = {"epoch": 3, "train_iterator": {"version": 2}, "val_loss": 0.5}
    if averaged is not None:
        extra["ema"] = tensors(averaged)
    top = {
        "args": None,
        "cfg": {"model": Call("argparse.Namespace", state={"arch": "ofa_tiny"})},
        "model": tensors(named),
        "criterion": None,
        "optimizer_history": [{"optimizer_name": "FairseqAdam", "num_updates": 7}],
        "task_state": {},
        "extra_state": extra,
        "last_optimizer_state": {"state": {0: pytorch_files.tensor(np.zeros(3, np.float32))}},
    }
    pytorch_files.write_zip(path, top)
    return str(path)


def imported(capsys, tmp_path, file: str, *flags: str) -> nnx.Module:
    home = tmp_path / "backbone"
    flags = (IMPORT, "--config.format=ofa", f"--config.source={file}", f"--workdir={home}", *flags)
    done = run(capsys, *flags)
    assert done.code == 0, done.err
    assert "multimodal: ofa, " in done.out and "wrote " in done.out
    part = backbones.load(str(home)).part("multimodal")
    assert part.cfg.heads == (4, 6) and part.cfg.layers == (3, 2)
    return nnx.merge(part.graphdef(), jax.tree.map(np.asarray, part.tree))


def check(network, data) -> None:
    valid = data["in_image_valid"]
    memory = encode(network, images(data), data["in_src_tokens"], valid=valid)
    close(memory.x, data["out_image_encoder"], STACK)
    close(decode(network, memory, data["in_prev_tokens"]), data["out_image_logits"], STACK)


def test_a_published_file(tmp_path, capsys):
    file = write(tmp_path / "ofa_tiny.pt", golden())
    check(imported(capsys, tmp_path, file), case("encdec_tiny"))


@pytest.mark.parametrize("chosen", ["model", "ema"])
def test_averaged_weights(chosen, tmp_path, capsys):
    """The right ones are at the chosen place, and zeros at the other."""
    right, wrong = golden(), {name: 0 * x for name, x in golden().items()}
    parts = (wrong, right) if chosen == "ema" else (right, wrong)
    file = write(tmp_path / "ofa_tiny.pt", *parts)
    network = imported(capsys, tmp_path, file, f"--config.weights={chosen}")
    close(network.words[...], right[WORDS], 0)
    check(network, case("encdec_tiny"))


def test_the_last_steps_weights_are_taken_where_nothing_is_said(tmp_path, capsys):
    wrong = {name: 0 * x for name, x in golden().items()}
    file = write(tmp_path / "ofa_tiny.pt", golden(), wrong)
    network = imported(capsys, tmp_path, file)
    close(network.words[...], golden()[WORDS], 0)


# --- Refused, in one line ------------------------------------------------------------------------


def refusal(capsys, tmp_path, file: str, *flags: str) -> str:
    home = tmp_path / "backbone"
    flags = (IMPORT, "--config.format=ofa", f"--config.source={file}", f"--workdir={home}", *flags)
    done = run(capsys, *flags)
    assert not (home / "config.json").exists()
    return done.error()


def test_averaged_weights_that_are_not_there(tmp_path, capsys):
    file = write(tmp_path / "a.pt", golden())
    message = refusal(capsys, tmp_path, file, "--config.weights=ema")
    assert "holds no averaged weights (extra_state, ema), expected them for" in message
    message = refusal(capsys, tmp_path, file, "--config.weights=last")
    assert "config.weights = 'last', expected , model, ema" in message


def test_a_file_of_another_model(tmp_path, capsys):
    file = tmp_path / "a.pt"
    pytorch_files.write_zip(file, {"model": {"cls_token": pytorch_files.tensor(np.zeros(3))}})
    message = refusal(capsys, tmp_path, str(file))
    assert "holds no OFA encoder-decoder, expected encoder.image_proj.weight among" in message
    assert "they begin with cls_token" in message


def test_a_file_that_is_not_one_of_pytorch(tmp_path, capsys):
    file = tmp_path / "a.pt"
    file.write_text("hello")
    assert "expected a PyTorch checkpoint" in refusal(capsys, tmp_path, str(file))


def test_names_that_are_too_many_or_too_few(tmp_path, capsys):
    named = golden()
    named["encoder.layers.1.extra.weight"] = np.zeros(3, np.float32)
    named["decoder.layers.1.fc2.bias"] = np.zeros(5, np.float32)
    for name in ("decoder.layers.0.self_attn_ln.bias", "encoder.embed_images.layer2.1.bn3.weight"):
        del named[name]
    message = refusal(capsys, tmp_path, write(tmp_path / "a.pt", named))
    assert "encoder.layers.1.extra.weight (3,) is unexpected" in message
    assert "decoder.layers.1.fc2.bias has shape (5,), expected (48,)" in message
    assert "decoder.layers.0.self_attn_ln.bias is missing" in message
    assert "encoder.embed_images.layer2.1.bn3.weight is missing" in message


def test_a_size_that_cannot_be_found(tmp_path, capsys):
    """An architecture without scalars for its heads, as the library's default is."""
    named = {name: x for name, x in golden().items() if not name.endswith("c_attn")}
    message = refusal(capsys, tmp_path, write(tmp_path / "a.pt", named))
    assert "is not a whole OFA encoder-decoder: encoder.layers.0.self_attn.c_attn is mi" in message


def test_tables_that_are_not_tied(tmp_path, capsys):
    name = "decoder.output_projection.weight"
    same = write(tmp_path / "same.pt", golden() | {name: golden()[WORDS].copy()})
    imported(capsys, tmp_path / "same", same)
    other = write(tmp_path / "other.pt", golden() | {name: golden()[WORDS] + 1})
    message = refusal(capsys, tmp_path, other)
    assert f"{name} (101, 48) has other numbers than {WORDS}, expected one table" in message


def test_a_file_with_prompts(tmp_path, capsys):
    """Prompt tuning of the reference stores the whole model; the names say what it is."""
    named = case("encdec_prefix_tiny").parameters
    message = refusal(capsys, tmp_path, write(tmp_path / "a.pt", named))
    assert "encoder.encoder_prompt_encoder.embedding.weight (5, 288) is unexpected" in message


def test_weights_belong_to_this_format(tmp_path, capsys):
    file = write(tmp_path / "a.pt", golden())
    done = run(
        capsys,
        IMPORT,
        "--config.format=swin",
        f"--config.source={file}",
        "--config.weights=ema",
        f"--workdir={tmp_path / 'other'}",
    )
    assert "config.weights" in done.error()
