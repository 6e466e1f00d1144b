"""State dicts of PyTorch files: values by hand."""

import tracemalloc

import ml_dtypes
import numpy as np
import pytest

from maskgit_prompt.importers import pytorch
from tests.importers.pytorch_files import (
    DATA,
    FOREIGN,
    WRITERS,
    Call,
    Name,
    Storage,
    both,
    tensor,
    values,
    write_zip,
)


@pytest.mark.parametrize("file", ["views.pt", "views_old.pt"])
def test_a_file_of_pytorch_itself(file):
    found = pytorch.read(DATA / file)
    grid = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    np.testing.assert_array_equal(found["whole"].read(), grid)
    np.testing.assert_array_equal(found["turned"].read(), grid.transpose(2, 0, 1))
    np.testing.assert_array_equal(found["turned"][1, :, 2], [9, 21])
    assert found["row"].read().tolist() == [5, 6, 7, 8]
    assert found["every_other"].read().tolist() == [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23]
    assert found["row"].offset == found["whole"].offset + 20  # one storage
    assert found["whole"].strides is None and found["turned"].strides == (4, 48, 16)
    assert found["scalar"].shape == () and found["scalar"].read() == 0.5
    assert found["empty"].read().shape == (0, 3)
    rest = {
        "half": ("float16", [1.5, -2.0]),
        "double": ("float64", [1 / 3]),
        "brain": ("bfloat16", [[1.0, -0.25]]),
        "steps": ("int64", 7),
        "bytes": ("uint8", [1, 255]),
        "mask": ("bool", [True, False, True]),
        "parameter": ("float32", [3.0, 4.0]),
    } | ({"words": ("uint16", [1, 65535])} if file == "views.pt" else {})
    assert {n: (found[n].dtype.name, found[n].read().tolist()) for n in rest} == rest
    assert set(found) == set(rest) | {"whole", "turned", "row", "every_other", "scalar", "empty"}


def test_a_checkpoint_of_pytorch_lightning_itself():
    found = pytorch.read(DATA / "lightning.ckpt")
    assert {name: x.shape for name, x in found.items()} == {
        "layer.weight": (3, 2),
        "layer.bias": (3,),
        "norm.weight": (3,),
        "norm.bias": (3,),
        "norm.running_mean": (3,),
        "norm.running_var": (3,),
        "norm.num_batches_tracked": (),
    }
    assert found["norm.num_batches_tracked"].read() == 4
    np.testing.assert_allclose(found["norm.weight"].read(), [0.9977999925613403] * 3, rtol=1e-7)


@both
def test_views_of_one_storage(tmp_path, write):
    storage = Storage(np.arange(6, dtype=np.int16))
    write(
        tmp_path / "a.pt",
        {
            "whole": tensor(storage, 0, (2, 3), (3, 1)),
            "turned": tensor(storage, 0, (3, 2), (1, 3)),
            "column": tensor(storage, 1, (2,), (3,)),
            "repeated": tensor(storage, 5, (3,), (0,)),
            "one": tensor(storage, 4, (), ()),
            "nothing": tensor(storage, 6, (0,), (1,)),
            "single": tensor(storage, 2, (1, 3, 1), (7, 1, 9)),
            "long": tensor(np.array([[-1]])),
            "brain": tensor(np.array([0.5], ml_dtypes.bfloat16)),
        },
    )
    assert values(tmp_path / "a.pt") == {
        "whole": [[0, 1, 2], [3, 4, 5]],
        "turned": [[0, 3], [1, 4], [2, 5]],
        "column": [1, 4],
        "repeated": [5, 5, 5],
        "one": 4,
        "nothing": [],
        "single": [[[2], [3], [4]]],
        "long": [[-1]],
        "brain": [0.5],
    }
    found = pytorch.read(tmp_path / "a.pt")
    assert {name for name, x in found.items() if x.strides is not None} == {
        "turned",
        "column",
        "repeated",
    }


@both
@pytest.mark.parametrize("wrapper", ["state_dict", "model", "params"])
def test_the_state_dict_is_found_and_flattened(tmp_path, write, wrapper):
    ordered = Call("collections.OrderedDict", [["b", tensor([1.0])]], state={"_metadata": {}})
    moments = {"state": {0: {"exp_avg": tensor([9.0])}}}
    inner = {"a": ordered, "c": {"d": {0: tensor([2.0])}, "note": "text"}, "epoch": 3, "n": None}
    write(tmp_path / "a.pt", {"epoch": 1, "optimizer": moments, wrapper: inner})
    assert values(tmp_path / "a.pt") == {"a.b": [1.0], "c.d.0": [2.0]}
    write(tmp_path / "a.pt", {"epoch": 1, "optimizer": moments, "decoder": {"d": tensor([3.0])}})
    assert values(tmp_path / "a.pt") == {"decoder.d": [3.0]}


@both
def test_what_training_leaves_behind_is_passed_over(tmp_path, write):
    weights = {
        "w": tensor([1.0]),
        "p": Call("torch._utils._rebuild_parameter", tensor([2.0]), True, {}),
        "t": Call(
            "torch._tensor._rebuild_from_type_v2",
            Name("torch._utils._rebuild_tensor_v2"),
            Name("torch.Tensor"),
            tensor([3.0]).args,
            {"extra": 1},
        ),
    }
    write(tmp_path / "a.ckpt", {**FOREIGN, "state_dict": weights})
    assert values(tmp_path / "a.ckpt") == {"w": [1.0], "p": [2.0], "t": [3.0]}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickle_protocols(tmp_path, protocol):
    write_zip(tmp_path / "a.pt", FOREIGN | {"model": {"w": tensor([1.0])}}, protocol=protocol)
    assert values(tmp_path / "a.pt") == {"w": [1.0]}


def test_reading_holds_no_storage(tmp_path):
    for write in WRITERS:
        write(tmp_path / "a.pt", {"w": tensor(np.zeros(2**23, np.float32))})
        tracemalloc.start()
        found = pytorch.read(tmp_path / "a.pt")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 2**20 and found["w"].size == 2**23
