"""Nothing in a PyTorch file is ever run, and no module is imported."""

import pickle
import sys

import numpy as np
import pytest

from maskgit_prompt.importers import pytorch
from tests.importers.bad_files import refusal
from tests.importers.pytorch_files import (
    FOREIGN,
    Call,
    Name,
    both,
    tensor,
    write_zip,
)


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
