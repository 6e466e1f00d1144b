"""Published files of encoders through the import command: features are the reference's."""

import jax
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx

from maskgit_prompt import backbones
from tests.golden_models import Case, close
from tests.importers import pytorch_files
from tests.jobs.running import ROOT, run
from tests.models import test_swin as of_swin
from tests.models import test_vit as of_vit

IMPORT = f"--config={ROOT}/configs/import.py"
STACK = 1e-4


def imported(capsys, tmp_path, form: str, file, *flags: str) -> nnx.Module:
    home = tmp_path / "backbone"
    done = run(
        capsys,
        IMPORT,
        f"--config.format={form}",
        f"--config.source={file}",
        f"--workdir={home}",
        *flags,
    )
    assert done.code == 0, done.err
    assert "--config=configs/classify.py:PHOTOS --config.backbone=" in done.out
    part = backbones.load(str(home)).part("encoder")
    return nnx.merge(part.graphdef(), jax.tree.map(np.asarray, part.tree))


def google(case: Case) -> dict[str, np.ndarray]:
    ours = ("cls", "embedding/", "Transformer/")
    return {name: x for name, x in case.parameters.items() if name.startswith(ours)}


def torch(case: Case) -> dict[str, np.ndarray]:
    return {n: x for n, x in case.parameters.items() if not n.startswith(("enc.", "head."))}


def big_vision(name: str) -> str:
    """The name in newer files."""
    name = name.replace("LayerNorm_2", "LayerNorm_1").replace("MlpBlock_3", "MlpBlock_0")
    name = name.replace("Attention_1", "Attention_0")
    return "params/img/" + name.replace("Transformer/posembed_input/", "")


def tensors(named: dict[str, np.ndarray]) -> dict:
    return {name: pytorch_files.tensor(np.ascontiguousarray(x)) for name, x in named.items()}


@pytest.mark.parametrize("kind", ["plain", "compressed", "newer"])
def test_googles_npz(kind, tmp_path, capsys):
    case = Case("vpt/vit_shallow")
    named = google(case) | {"head/kernel": np.zeros((32, 9), np.float32)}
    if kind == "newer":
        named = {big_vision(name): x for name, x in google(case).items()}
        # There positions are added before the class token comes in.
        table = named["params/img/pos_embedding"]
        named["params/img/pos_embedding"] = table[:, 1:]
        named["params/img/cls"] = named["params/img/cls"] + table[:, :1]
    save = np.savez_compressed if kind == "compressed" else np.savez
    save(tmp_path / "ViT-B_16.npz", **named)
    model = imported(capsys, tmp_path, "vit-npz", tmp_path / "ViT-B_16.npz")
    assert model.cfg.mean == (0.5, 0.5, 0.5)
    images = case["in_images"]
    prompt = of_vit.placed(of_vit.prompt_of(case), images)
    close(model(images, prompt), case["out_features"], STACK)


def test_another_image_size_resizes_the_positions(tmp_path, capsys):
    case = Case("vpt/vit_resize")
    np.savez(tmp_path / "a.npz", **google(case))
    size = case.config["image_size"]
    flags = (f"--config.image_size={size}", "--config.normalization=imagenet")
    model = imported(capsys, tmp_path, "vit-npz", tmp_path / "a.npz", *flags)
    assert model.cfg.image_size == size and model.cfg.mean == (0.485, 0.456, 0.406)
    prompt = of_vit.placed(of_vit.prompt_of(case), case["in_images"])
    close(model(case["in_images"], prompt), case["out_features"], STACK)


@pytest.mark.parametrize("name", ["mae_deep", "moco_deep"])
@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_pytorchs(name, kind, tmp_path, capsys):
    case = Case(f"vpt/{name}")
    named = torch(case)
    if name == "moco_deep":
        named = {f"module.base_encoder.{n}": x for n, x in named.items()}
        named["module.momentum_encoder.cls_token"] = np.zeros(3, np.float32)
        named["module.predictor.0.weight"] = np.zeros(3, np.float32)
        named["module.base_encoder.head.0.weight"] = np.zeros(3, np.float32)
    file = tmp_path / f"a.{kind}"
    if kind == "pth":
        pytorch_files.write_zip(file, {"state_dict": tensors(named)})
    else:
        safetensors.numpy.save_file({n: np.ascontiguousarray(x) for n, x in named.items()}, file)
    heads = f"--config.heads={case.config['heads']}"
    model = imported(capsys, tmp_path, "vit-torch", file, heads)
    assert (model.cfg.pool, model.cfg.norm) == {
        "mae_deep": ("all", "after"),
        "moco_deep": ("class", "before"),
    }[name]
    prompt = of_vit.placed(of_vit.prompt_of(case, "enc."), case["in_images"])
    close(model(case["in_images"], prompt), case["out_features"], STACK)


def test_the_pretraining_checkpoint_of_mae(tmp_path, capsys):
    """Its last norm is not the one behind the pooling, which starts as nothing."""
    case = Case("vpt/mae_shallow")
    named = {n: x for n, x in torch(case).items() if not n.startswith("fc_norm")}
    named |= {"norm.weight": np.full(32, 7.0, np.float32), "norm.bias": np.zeros(32, np.float32)}
    named |= {"mask_token": np.zeros((1, 1, 8), np.float32)}
    named |= {"decoder_pred.weight": np.zeros((3, 8), np.float32)}
    safetensors.numpy.save_file(
        {n: np.ascontiguousarray(x) for n, x in named.items()}, tmp_path / "mae.safetensors"
    )
    heads = f"--config.heads={case.config['heads']}"
    model = imported(capsys, tmp_path, "vit-torch", tmp_path / "mae.safetensors", heads)
    assert model.cfg.pool == "all" and (model.norm.scale[...] == 1).all()


@pytest.mark.parametrize("behind", [False, True])
def test_swin(behind, tmp_path, capsys):
    case = Case("vpt/swin_deep")
    named = torch(case)
    if behind:  # timm's
        named = {
            n.replace(f"layers.{i}.downsample", f"layers.{i + 1}.downsample", 1)
            if (i := int(n.split(".")[1]) if n.startswith("layers.") else -1) >= 0
            else n: x
            for n, x in named.items()
        }
    named["layers.0.blocks.1.attn_mask"] = np.zeros(2, np.float32)
    named["head.fc.weight"] = np.zeros((3, 2), np.float32)
    pytorch_files.write_zip(tmp_path / "swin.pth", {"model": tensors(named)})
    model = imported(capsys, tmp_path, "swin", tmp_path / "swin.pth")
    assert model.cfg.layers == (2, 2, 2, 1) and model.cfg.window == 4
    assert model.cfg.image_size == 32
    prompt = of_swin.placed(of_swin.tensors(case, "enc."), len(case["in_images"]))
    close(model(case["in_images"], prompt), case["out_features"], STACK)


# --- Refused, in one line ------------------------------------------------------------------------


def refusal(capsys, tmp_path, form: str, file, *flags: str) -> str:
    home = tmp_path / "backbone"
    done = run(
        capsys,
        IMPORT,
        f"--config.format={form}",
        f"--config.source={file}",
        f"--workdir={home}",
        *flags,
    )
    assert not (home / "config.json").exists()
    return done.error()


@pytest.mark.parametrize(
    "form, message",
    [
        ("vit-npz", "holds no vision transformer of Google's, expected embedding/kernel among"),
        ("vit-torch", "is a zip archive of kernel.npy, expected a PyTorch checkpoint"),
        ("swin", "is a zip archive of kernel.npy, expected a PyTorch checkpoint"),
    ],
)
def test_an_npz_of_another_model(form, message, tmp_path, capsys):
    np.savez(tmp_path / "a.npz", kernel=np.zeros(3))
    assert message in refusal(capsys, tmp_path, form, tmp_path / "a.npz")


def test_npz_files_that_cannot_be_read(tmp_path, capsys):
    file = tmp_path / "a.npz"
    np.savez(file, **google(Case("vpt/vit_shallow")))
    file.write_bytes(file.read_bytes()[:-3000])
    assert "expected an .npz file of arrays" in refusal(capsys, tmp_path, "vit-npz", file)
    np.savez(file, a=np.array([{}], object))
    message = refusal(capsys, tmp_path, "vit-npz", file)
    assert "a.npy holds Python objects, which are never read" in message
    file.write_text("hello")
    assert "expected an .npz file of arrays" in refusal(capsys, tmp_path, "vit-npz", file)


def test_names_that_are_too_many_or_too_few(tmp_path, capsys):
    named = google(Case("vpt/vit_shallow"))
    named["Transformer/encoderblock_1/Extra/scale"] = np.zeros(3, np.float32)
    del named["Transformer/encoder_norm/bias"]
    np.savez(tmp_path / "a.npz", **named)
    message = refusal(capsys, tmp_path, "vit-npz", tmp_path / "a.npz")
    assert "Transformer/encoderblock_1/Extra/scale (3,) is unexpected" in message
    assert "Transformer/encoder_norm/bias is missing" in message


def test_sizes_that_the_names_do_not_tell(tmp_path, capsys):
    safetensors.numpy.save_file(
        {n: np.ascontiguousarray(x) for n, x in torch(Case("vpt/moco_deep")).items()},
        tmp_path / "a.safetensors",
    )
    file = tmp_path / "a.safetensors"
    assert "give the number of heads, as --config.heads=12" in refusal(
        capsys, tmp_path, "vit-torch", file
    )
    flags = ("--config.heads=4", "--config.image_size=33")
    assert "images of 33 do not divide into patches of" in refusal(
        capsys, tmp_path, "vit-torch", file, *flags
    )
