"""State dicts of PyTorch files: values by hand, and nothing in a file is ever run."""

import io
import os
import pathlib
import pickle
import sys
import tarfile
import tracemalloc
import zipfile

import ml_dtypes
import numpy as np
import pytest

from maskgit_prompt.errors import UserError
from maskgit_prompt.importers import pytorch
from tests.importers.bad_files import BAD, check_bad, check_cut, check_flipped, refusal
from tests.importers.pytorch_files import (
    Call,
    Name,
    Storage,
    pickled,
    tensor,
    write_old,
    write_zip,
)

DATA = pathlib.Path(__file__).parent / "data"
WRITERS = (write_zip, write_old)
both = pytest.mark.parametrize("write", WRITERS)


def values(path) -> dict:
    return {name: x.read().tolist() for name, x in pytorch.read(path).items()}


# ---- what is read


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


FOREIGN = {
    "callbacks": {Name("pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint"): {"n": 1}},
    "only named": Name("os.system"),
    "namespace": Call("argparse.Namespace", state={"lr": 0.1}),
    "hyper_parameters": Call("pytorch_lightning.utilities.parsing.AttributeDict", {"a": 1}),
    "config": Call("omegaconf.dictconfig.DictConfig", state={"_content": {}}),
    "reconstructed": Call("copyreg._reconstructor", Name("argparse.Namespace"), None, None),
    "counts": Call("collections.Counter", {1: 2}),
    "default": Call("collections.defaultdict", Name("builtins.list")),
    "device": Call("torch.device", "cuda", 0),
    "size": Call("torch.Size", (2, 3)),
    "dtype": Name("torch.float32"),
    "number": Call("numpy.core.multiarray.scalar", Call("numpy.dtype", "f8"), b"12345678"),
    "set": {1, 2},
    "frozen": frozenset({1}),
    "big": 2**100,
    "pairs": {(1, (2, 3)): 4},
    "bytes": bytearray(b"abc"),
}


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


# ---- what would run code


class Poison:
    """A module that leaves a mark where any of its names is even looked up."""

    def __init__(self):
        self.touched = []

    def __getattr__(self, name):
        self.touched.append(name)
        return lambda *args, **kwargs: self.touched.append(args)


def poisons() -> dict[str, tuple[bytes, str]]:
    """Pickles that would run poison.run, and what each is said to want."""
    run = b"cpoison\nrun\n"
    return {
        "REDUCE": (b"\x80\x02" + run + b"(K\x01tR.", "poison.run"),
        "STACK_GLOBAL": (b"\x80\x04\x8c\x06poison\x8c\x03run\x93)R.", "poison.run"),
        "of a name in two lines": (b"\x80\x04\x8c\x06poison\x8c\x04r\nun\x93)R.", r"poison.r\nun"),
        "INST": (b"\x80\x02(K\x01ipoison\nrun\n.", "poison.run"),
        "OBJ": (b"\x80\x02(" + run + b"K\x01o.", "poison.run"),
        "NEWOBJ": (b"\x80\x02" + run + b")\x81.", "poison.run"),
        "NEWOBJ_EX": (b"\x80\x04" + run + b")}\x92.", "poison.run"),
        "BUILD of its attributes": (b"\x80\x02" + run + b"}b.", "a change of poison.run"),
        "BUILD of a made object": (b"\x80\x02" + run + b")\x81}b.", "poison.run"),
        "BUILD of what is trusted": (
            b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}b.",
            "a change of torch._utils._rebuild_tensor_v2",
        ),
        "EXT1": (b"\x80\x02\x82\x07.", "extension code 7"),
        "EXT2": (b"\x80\x02\x83\x07\x01.", "extension code 263"),
        "EXT4": (b"\x80\x02\x84\x07\x00\x00\x00.", "extension code 7"),
        "a storage of that class": (
            b"\x80\x02(X\x07\x00\x00\x00storage" + run + b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
            b"K\x01tQ.",
            "poison.run",
        ),
        "a reconstructor": (
            b"\x80\x02ccopyreg\n_reconstructor\n" + run + b"NN\x87R.",
            "poison.run",
        ),
        "a call of an object": (b"\x80\x02](K\x01tR.", "an object of type list"),
    }


@pytest.mark.parametrize("how", poisons())
def test_nothing_in_a_file_is_run(tmp_path, monkeypatch, how):
    poison = Poison()
    monkeypatch.setitem(sys.modules, "poison", poison)
    monkeypatch.setitem(pickle._inverted_registry, 7, ("poison", "run"))
    monkeypatch.setitem(pickle._extension_cache, 7, poison.run)
    poison.touched.clear()
    data, named = poisons()[how]
    path = tmp_path / "x.ckpt"
    write_zip(path, None, data=data)
    inside = refusal(pytorch.read, path)
    path.write_bytes(data)  # as the first pickle of an old file
    for message in (inside, refusal(pytorch.read, path)):
        assert f"{path} wants to run {named}: refused, nothing was run; expected a state" in message
        assert "torch.save(model.state_dict(), FILE)" in message
    assert poison.touched == []


@both
@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "posix.system",
        "builtins.eval",
        "builtins.exec",
        "builtins.getattr",
        "subprocess.Popen",
        "functools.partial",
        "importlib.import_module",
        "torch.hub.load",
        "torch.storage._load_from_bytes",
        "torch.nn.modules.linear.Linear",
        "numpy.load",
        "argparse.Namespace.__init__",
        "my_argparse.Namespace",
    ],
)
def test_calls_are_refused_by_name(tmp_path, write, name):
    path = tmp_path / "x.ckpt"
    target = tmp_path / "made"
    write(path, {"state_dict": {"w": tensor([1.0])}, "note": Call(name, f"touch {target}")})
    assert f"wants to run {name}: refused" in refusal(pytorch.read, path)
    assert not target.exists()


def test_no_module_is_imported(tmp_path):
    before = set(sys.modules)
    write_zip(tmp_path / "a.ckpt", {**FOREIGN, "this": Name("this.s"), "w": tensor([1.0])})
    pytorch.read(tmp_path / "a.ckpt")
    new = {name.split(".")[0] for name in set(sys.modules) - before}
    assert not new & {"this", "omegaconf", "torch", "pytorch_lightning"}


# ---- bad files


@pytest.mark.parametrize("name", [n for n in BAD if n not in ("zip", "pickle")])
def test_other_files(tmp_path, name):
    check_bad(pytorch.read, tmp_path, name, "a PyTorch checkpoint")


def test_a_missing_file_and_a_folder(tmp_path):
    assert "No such file or directory" in refusal(pytorch.read, tmp_path / "none.ckpt")
    assert "Is a directory" in refusal(pytorch.read, tmp_path)


@both
def test_files_cut_short_anywhere(tmp_path, write):
    path = tmp_path / "a.pt"
    write(path, {"a": tensor(np.arange(4.0)), "b": {"c": tensor([1])}, "n": frozenset({"x"})})
    check_cut(pytorch.read, path, path.read_bytes())


@pytest.mark.parametrize("file", ["views.pt", "views_old.pt", "lightning.ckpt"])
def test_files_of_pytorch_cut_short(tmp_path, file):
    check_cut(pytorch.read, tmp_path / "a.pt", (DATA / file).read_bytes(), step=37)


@pytest.mark.parametrize("file", ["views.pt", "views_old.pt"])
def test_wrong_bytes_are_read_or_refused(tmp_path, file):
    check_flipped(pytorch.read, tmp_path / "a.pt", (DATA / file).read_bytes(), 300)


def test_wrong_bytes_in_the_pickle_are_read_or_refused(tmp_path):
    # In a zip archive the checksum would find them all.
    with zipfile.ZipFile(DATA / "lightning.ckpt") as archive:
        whole = archive.read("archive/data.pkl")
    rng = np.random.default_rng(2)
    for _ in range(150):
        data = np.frombuffer(whole, np.uint8).copy()
        data[rng.integers(len(data), size=3)] = rng.integers(256, size=3)
        write_zip(tmp_path / "a.pt", None, data=data.tobytes())
        refusal(pytorch.read, tmp_path / "a.pt")  # its storages are not there


def test_a_zip_archive_of_something_else(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("image.png", b"")
    message = refusal(pytorch.read, tmp_path / "a.zip")
    assert "is a zip archive of image.png, expected a PyTorch checkpoint with one data" in message


def test_a_pickle_of_something_else(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"a": 1}))
    message = refusal(pytorch.read, tmp_path / "a.pkl")
    assert "is a pickle, but torch.save did not write it, expected a PyTorch checkpoint" in message


def test_a_tar_archive(tmp_path):
    with tarfile.open(tmp_path / "a.pth", "w") as archive:
        info = tarfile.TarInfo("pickle")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
    message = refusal(pytorch.read, tmp_path / "a.pth")
    assert "is a tar archive, as PyTorch wrote before 0.1.10, expected a zip archive" in message


def test_compressed_and_big_endian_files(tmp_path):
    path = tmp_path / "a.pt"
    state = {"w": tensor([1.0])}
    write_zip(path, state, compression=zipfile.ZIP_DEFLATED)
    assert "holds archive/data.pkl compressed, expected it as" in refusal(pytorch.read, path)
    write_zip(path, state, byteorder=b"big")
    assert "was written on a big-endian machine, expected" in refusal(pytorch.read, path)
    write_old(path, state, little=False)
    assert "was written on a big-endian machine, expected" in refusal(pytorch.read, path)
    write_zip(path, state, byteorder=None)  # PyTorch before 2.1 did not say
    assert values(path) == {"w": [1.0]}


@both
@pytest.mark.parametrize(
    ("top", "found"),
    [
        ({"epoch": 3, "optimizer": {"a": tensor([1.0])}}, "no state dict, only epoch, optimizer; "),
        ({"state_dict": {}}, "holds no state dict, only state_dict; expected tensors at the top"),
        ({}, "holds no state dict, only an empty dict; "),
        ({i: 0 for i in range(9)}, "only 0, 1, 2, 3, 4, 5, 6, 7, …; "),
        ({Name("a.B"): 1}, "only a.B; "),
        (tensor([1.0]), "holds a tensor, expected a state dict; save one with torch.save"),
        ([1], "holds a list, expected a state dict"),
        ({"a.b": tensor([1]), "a": {"b": tensor([2])}}, "has two tensors called a.b"),
    ],
)
def test_files_without_a_state_dict(tmp_path, write, top, found):
    write(tmp_path / "a.pt", top)
    assert found in refusal(pytorch.read, tmp_path / "a.pt")


FOUR = np.zeros(4, np.float32)


@pytest.mark.parametrize(
    ("bad", "found"),
    [
        (tensor(Storage(FOUR), 1, (4,), (1,)), "w ends at byte"),
        (tensor(Storage(FOUR), 0, (2, 2), (3, 1)), "w ends at byte"),
        (tensor(Storage(FOUR, "Double"), 0, (1,), (1,)), "w ends at byte"),
        (tensor(Storage(FOUR, size=5), 0, (1,), (1,)), "w ends at byte"),
        (tensor(Storage(FOUR, size=2), 0, (3,), (1,)), "w ends at byte"),
        (tensor(Storage(FOUR), -1, (1,), (1,)), r"a tensor of shape \(1,\)"),
        (tensor(Storage(FOUR), 3, (2,), (-1,)), r"strides \(-1,\)"),
        (tensor(Storage(FOUR), 0, (2,), (1, 1)), r"strides \(1, 1\)"),
        (tensor(Storage(FOUR), 0, (True,), (1,)), r"shape \(True,\)"),
        (tensor(Storage(FOUR), 0, (2**5000,), (1,)), "a number of 5,001 bits"),
        (tensor(Storage(FOUR, "QInt8"), 0, (1,), (1,)), "in a type of number that is not read"),
        (Call("torch._utils._rebuild_sparse_tensor", 1), "holds w as sparse_tensor, expected a de"),
        (
            Call(
                "torch._utils._rebuild_tensor_v2", Storage(FOUR), 0, (1,), (1,), False, {}, {1: 1}
            ),
            r"holds w as conjugated_or_negated, .* or .resolve_conj\(\)",
        ),
        (
            Call("torch._utils._rebuild_tensor_v3", Storage(FOUR), 0, (1,), (1,), False, {}, 3),
            "AttributeError",
        ),
        (Call("torch._utils._rebuild_tensor", tensor(FOUR), 0, (1,), (1,)), "without a storage"),
    ],
)
def test_tensors_that_do_not_fit_their_storage(tmp_path, bad, found):
    write_zip(tmp_path / "a.pt", {"w": bad})
    with pytest.raises(UserError, match=found):
        pytorch.read(tmp_path / "a.pt")


def test_storages_that_are_missing_or_of_another_length(tmp_path):
    path = tmp_path / "a.pt"
    write_zip(path, {"w": tensor(FOUR)}, leave_out="0")
    assert "the numbers of w are missing" in refusal(pytorch.read, path)
    write_old(path, {"w": tensor(Storage(FOUR, size=3), 0, (3,), (1,))})
    assert "storage 0 of 3 elements has 4 at byte" in refusal(pytorch.read, path)
    write_old(path, {"w": tensor(Storage(FOUR, "QInt8"), 0, (1,), (1,))})
    assert "holds numbers of a quantized kind" in refusal(pytorch.read, path)
    write_old(path, {"w": tensor(FOUR)}, tail=(("1", 0, 4),))
    assert "a storage that is part of another" in refusal(pytorch.read, path)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"\x80\x02}q\x00X\x01\x00\x00\x00aq\x01h\x00s.", "dicts nested more than 32 deep"),
        (b"\x80\x02h\x05.", "KeyError: 5"),
        (b"\x80\x02s.", "IndexError"),
        (b"\x80\x02K\x01\x86.", "a tuple of too few items"),
        (b"\x80\x05\x97.", "opcode NEXT_BUFFER"),
        (b"\x80\x02\x8e\x00\x00\x00\x00\x00\x00\x00\x01abc.", "an item of 72,057,594,037,927,936"),
        (b"\x80\x02K\x01Q.", "an unknown persistent id"),
        (b"\x80\x04K\x01K\x02\x93.", "a name that is no text"),
        (b"\x80\x02}", "pickle exhausted before seeing STOP"),
    ],
)
def test_damaged_pickles(tmp_path, data, found):
    write_zip(tmp_path / "a.pt", None, data=data)
    message = refusal(pytorch.read, tmp_path / "a.pt")
    assert "is damaged or cut short (" in message and found in message


def test_a_pickle_that_would_unfold_without_end(tmp_path):
    # 30 dicts, each twice in the next: 2^30 entries.
    nested = {"x": 0}
    for _ in range(30):
        nested = {"a": nested, "b": nested}
    assert len(pickled(nested)[0]) < 1000
    write_zip(tmp_path / "a.pt", nested)
    assert "or more than 1,000,000 entries" in refusal(pytorch.read, tmp_path / "a.pt")


def test_no_file_stays_open(tmp_path):
    write_zip(tmp_path / "a.pt", {"w": tensor([1.0])})
    before = len(os.listdir("/proc/self/fd"))
    found = pytorch.read(tmp_path / "a.pt")
    assert found["w"][0] == 1.0 and len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    "name",
    [
        "omegaconf.omegaconf.os.system",
        "pytorch_lightning.x.os.system",
        "pytorch_lightning.utilities.cloud_io.torch.load",
        "torch.optim.optimizer.sys.modules.__getitem__",
    ],
)
def test_a_function_behind_the_path_of_an_inert_module(name, tmp_path):
    path = tmp_path / "a.ckpt"
    write_zip(path, {"state_dict": {"a": tensor(np.ones(2, np.float32))}, "x": Call(name, "true")})
    assert f"wants to run {name}" in refusal(pytorch.read, path)
