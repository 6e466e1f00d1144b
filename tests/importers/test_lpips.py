"""LPIPS from torchvision's files and its own: which is which, in what order, what is refused."""

import hashlib
import pathlib

import jax
import numpy as np
import pytest
from flax import nnx

from maskgit_prompt import params
from maskgit_prompt.errors import UserError
from maskgit_prompt.importers import lpips
from maskgit_prompt.models.lpips import Lpips
from tests import perceptual_files
from tests.golden_models import Case
from tests.perceptual_files import write

both = pytest.mark.parametrize("network", ["vgg", "alex"])


def written(folder: pathlib.Path, convolutions: dict, linear: dict, **how) -> list[str]:
    return [
        write(folder / "net.pth", convolutions, **how),
        write(folder / "lin.pth", linear, **how),
    ]


@both
@pytest.mark.parametrize("old", [True, False])
def test_computes_what_the_reference_computes(tmp_path, network, old):
    files = written(tmp_path, *perceptual_files.lpips(network), old=old)
    cfg, tree = lpips.read(files)
    assert cfg.network == network
    graphdef, _ = params.create(lambda rngs: Lpips(cfg, rngs=rngs))
    case = Case(f"lpips/{network}")
    found = jax.jit(lambda tree, a, b: nnx.merge(graphdef, tree)(a, b))(
        tree, case["in_a"], case["in_b"]
    )
    np.testing.assert_allclose(found, case["out_distance"], rtol=1e-5)


def test_the_files_come_in_either_order(tmp_path):
    files = written(tmp_path, *perceptual_files.lpips("alex"))
    one, other = (params.flatten(lpips.read(order)[1]) for order in (files, files[::-1]))
    assert one.keys() == other.keys()
    for path, array in one.items():
        np.testing.assert_array_equal(array, other[path])


def test_the_linear_layers_of_another_network(tmp_path):
    files = written(tmp_path, perceptual_files.lpips("vgg")[0], perceptual_files.lpips("alex")[1])
    with pytest.raises(UserError) as caught:
        lpips.read(files)
    assert str(caught.value) == (
        f"{files[1]} has the linear layers of AlexNet, but {files[0]} is VGG16; give two files of "
        "one network"
    )


def test_the_linear_layers_of_version_0(tmp_path, monkeypatch):
    files = written(tmp_path, *perceptual_files.lpips("alex"))
    digest = hashlib.sha256(pathlib.Path(files[1]).read_bytes()).hexdigest()
    monkeypatch.setattr(lpips, "VERSION_0", (digest,))
    with pytest.raises(UserError, match=r"lin.pth has the linear layers of LPIPS 0\.0, expected"):
        lpips.read(files)


@pytest.mark.parametrize("chosen", [(0,), (1,), (0, 0), (1, 1), (0, 1, 1)])
def test_one_file_of_each_is_needed(tmp_path, chosen):
    files = written(tmp_path, *perceptual_files.lpips("alex"))
    with pytest.raises(UserError, match=r"expected two files, torchvision's .* and the linear"):
        lpips.read([files[i] for i in chosen])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda net, lin: lin["lin3.model.1.weight"].__setitem__((0, 5), -0.25),
            "lin.pth: lin3.model.1.weight holds -0.25, expected no negative weight",
        ),
        (
            lambda net, lin: lin["lin3.model.1.weight"].__setitem__((0, 5), np.nan),
            "lin.pth: lin3.model.1.weight holds NaN or infinite numbers",
        ),
        (
            lambda net, lin: lin.pop("lin4.model.1.weight"),
            "lin.pth does not fit the model: lin4.model.1.weight is missing",
        ),
        (
            lambda net, lin: lin.update({"lin5.model.1.weight": np.ones((1, 9, 1, 1), "f4")}),
            "lin.pth does not fit the model: lin5.model.1.weight (1, 9, 1, 1) is unexpected",
        ),
        (
            lambda net, lin: lin.update({"lin1.model.1.weight": np.ones((192,), "f4")}),
            "lin.pth does not fit the model: lin1.model.1.weight (192,) is misshapen",
        ),
        (
            lambda net, lin: net.pop("features.8.bias"),
            "net.pth does not fit the model: features.8.bias is missing",
        ),
        (
            lambda net, lin: net.update({"features.1.weight": np.ones((64,), "f4")}),
            "net.pth does not fit the model: features.1.weight (64,) is unexpected",
        ),
        (
            lambda net, lin: net.update({"features.0.weight": np.ones((64, 3, 7, 7), "f4")}),
            "net.pth: features.0.weight has shape (64, 3, 7, 7), expected (64, 3, 3, 3), VGG16, or",
        ),
        (
            lambda net, lin: net.update({"features.0.weight": np.ones((64,), "f4")}),
            "net.pth is not a VGG16 or AlexNet: features.0.weight has shape (64,), expected 4",
        ),
    ],
)
def test_what_does_not_fit(tmp_path, change, message):
    convolutions, linear = perceptual_files.lpips("alex")
    linear = {name: x.copy() for name, x in linear.items()}
    change(convolutions, linear)
    with pytest.raises(UserError) as caught:
        lpips.read(written(tmp_path, convolutions, linear))
    assert str(caught.value).startswith(f"{tmp_path}/{message}")
    assert str(caught.value).isprintable()
