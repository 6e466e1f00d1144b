"""Backbones on disk, and how their weights get to a mesh."""

import dataclasses
import errno
import json

import jax
import numpy as np
import pytest
from flax import nnx

from maskgit_prompt import backbones, params
from maskgit_prompt.backbones import write
from maskgit_prompt.backbones.compute import Compute
from maskgit_prompt.devices import sharding
from maskgit_prompt.errors import UserError
from maskgit_prompt.models.prompt import PromptConfig
from maskgit_prompt.storage import lock
from maskgit_prompt.stored import StoredArray
from tests import tiny

PARTS = ("tokenizer", "transformer")  # what prompts are tuned on
FINGERPRINTS = {
    "mini": "47ad06570627bd0e",
    "mini-causal": "8707bd71253727b3",
    "mini64": "10c2992e828d386f",
}


@pytest.fixture
def saved(tmp_path) -> backbones.Backbone:
    return backbones.save(tiny.backbone(), tmp_path / "tiny")


def flat(part: backbones.Part) -> dict[str, np.ndarray]:
    return {path: np.asarray(x) for path, x in params.flatten(part.tree).items()}


def same(a: backbones.Part, b: backbones.Part) -> bool:
    found, expected = flat(a), flat(b)
    assert found.keys() == expected.keys()
    return all((found[path] == expected[path]).all() for path in found)


@pytest.mark.parametrize("name", FINGERPRINTS)
def test_embedded_models_are_what_they_were(name):
    """Prompt files of users name this fingerprint."""
    found = backbones.load(name)
    assert (found.name, found.fingerprint(PARTS)) == (name, FINGERPRINTS[name])
    text = (backbones.EMBEDDED[name] / "config.json").read_text()
    assert json.loads(text)["fingerprint"] == FINGERPRINTS[name]


@pytest.mark.parametrize(
    ("name", "part", "fingerprint", "most"),
    [
        ("mini-vit", "encoder", "bb9694aeec7cf884", 6e6),
        ("mini-ofa", "multimodal", "d3057930d507b6e6", 12e6),
    ],
)
def test_embedded_models_of_one_part(name, part, fingerprint, most):
    found = backbones.load(name)
    assert list(found.parts) == [part]
    text = (backbones.EMBEDDED[name] / "config.json").read_text()
    assert found.fingerprint((part,)) == json.loads(text)["fingerprint"] == fingerprint
    assert sum(file.stat().st_size for file in backbones.EMBEDDED[name].iterdir()) < most


def test_mini_causal_is_mini_with_another_transformer():
    names = ("mini", "mini-causal")
    one, other = (backbones.load(name).parts for name in names)
    assert one["tokenizer"].sha256 == other["tokenizer"].sha256  # so codes files serve both
    assert one["features"].sha256 == other["features"].sha256
    assert other["transformer"].kind == "causal"
    sizes = [sum(p.stat().st_size for p in backbones.EMBEDDED[n].iterdir()) for n in names]
    assert max(sizes) < 6e6


def test_what_is_saved_is_loaded(saved):
    for name, part in tiny.backbone().parts.items():
        assert same(saved.parts[name], part) and saved.parts[name].cfg == part.cfg
    assert (saved.name, saved.classes) == ("tiny", tiny.backbone().classes)


def test_fingerprint_tells_weights_apart_but_no_names(saved, tmp_path):
    renamed = backbones.Backbone("other", saved.parts)
    other = backbones.save(renamed, tmp_path / "other")
    assert other.fingerprint(PARTS) == saved.fingerprint(PARTS)
    one = backbones.save(tiny.backbone(seed=1), tmp_path / "one")
    assert one.fingerprint(PARTS) != saved.fingerprint(PARTS)


def test_a_fingerprint_covers_the_parts_that_are_asked_for(saved, tmp_path):
    parts = {**tiny.backbone().parts, "transformer": tiny.backbone(seed=1).parts["transformer"]}
    other = backbones.save(backbones.Backbone("other", parts), tmp_path / "other")
    assert other.fingerprint(("tokenizer",)) == saved.fingerprint(("tokenizer",)) != ""
    assert other.fingerprint(("transformer",)) != saved.fingerprint(("transformer",))
    assert other.fingerprint(PARTS) != saved.fingerprint(PARTS)
    assert saved.fingerprint(("tokenizer",)) != saved.fingerprint(PARTS)


def test_a_fingerprint_needs_all_of_its_parts_in_a_folder(saved, tmp_path):
    assert tiny.backbone().fingerprint(("tokenizer",)) == ""
    parts = {"tokenizer": saved.parts["tokenizer"]}
    half = backbones.save(backbones.Backbone("half", parts), tmp_path / "half")
    assert half.fingerprint(PARTS) == ""
    assert half.fingerprint(("tokenizer",)) == saved.fingerprint(("tokenizer",))


def test_the_folder_tells_its_fingerprint_whichever_part_was_added_first(saved, tmp_path):
    parts = dict(reversed(tiny.backbone().parts.items()))
    backbones.save(backbones.Backbone("turned", parts), tmp_path / "turned")
    for name in ("tiny", "turned"):
        found = json.loads((tmp_path / name / "config.json").read_text())
        assert found["fingerprint"] == saved.fingerprint(PARTS)


def test_a_part_of_the_kind_of_another_part(saved, tmp_path):
    path = tmp_path / "tiny" / "config.json"
    found = json.loads(path.read_text())
    found["parts"]["tokenizer"]["kind"] = "masked"
    del found["sha256"]
    path.write_text(json.dumps(found))
    with pytest.raises(UserError) as error:
        backbones.load(str(tmp_path / "tiny"))
    assert str(error.value) == (
        f"{path} is damaged (ValueError('tokenizer of kind masked')); fetch it again"
    )


@pytest.mark.parametrize(
    "old, new",
    [
        ('"tiny"', '"tinz"'),
        ('"heads": 2', '"heads": 4'),
        ('"provenance"', '"provenancf"'),
        ('"sha256"', '"sha257"'),
        ('"fingerprint": "', '"fingerprint": "0'),
    ],
)
def test_a_config_that_says_something_else_than_was_written(old, new, saved, tmp_path):
    path = tmp_path / "tiny" / "config.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=rf"^{path} is damaged \(.*\); fetch it again$"):
        backbones.load(str(tmp_path / "tiny"))


def test_a_folder_of_an_earlier_version_has_no_checksum(saved, tmp_path):
    path = tmp_path / "tiny" / "config.json"
    found = json.loads(path.read_text())
    del found["sha256"]
    path.write_text(json.dumps(found))
    assert backbones.load(str(tmp_path / "tiny")).fingerprint(PARTS) == saved.fingerprint(PARTS)


@pytest.mark.parametrize("kind", ["masked", "causal"])
def test_how_attention_is_computed_is_in_no_folder_and_no_fingerprint(kind, tmp_path):
    plain, changed = tiny.backbone(kind=kind), tiny.backbone(kind=kind)
    part = changed.parts["transformer"]
    cfg = dataclasses.replace(part.cfg, attention_implementation="xla")
    changed.parts["transformer"] = dataclasses.replace(part, cfg=cfg)
    one, other = (
        backbones.save(backbone, tmp_path / name)
        for backbone, name in ((plain, "one"), (changed, "other"))
    )
    assert one.fingerprint(PARTS) == other.fingerprint(PARTS) != ""
    texts = [(tmp_path / name / "config.json").read_text() for name in ("one", "other")]
    assert texts[0] == texts[1] and "attention_implementation" not in texts[0]
    assert other.part("transformer").cfg == plain.part("transformer").cfg
    graphdef = other.part("transformer").graphdef(cfg)
    assert nnx.merge(graphdef, part.tree).cfg == cfg


def test_the_order_of_names_does_not_matter(saved, tmp_path):
    turned = tiny.backbone()
    for name, part in turned.parts.items():
        backwards = dict(reversed(params.flatten(part.tree).items()))
        turned.parts[name] = dataclasses.replace(part, tree=params.unflatten(backwards))
    found = backbones.save(turned, tmp_path / "turned")
    assert found.fingerprint(PARTS) == saved.fingerprint(PARTS)


def test_two_writers_of_one_folder(tmp_path):
    """The second is refused, the first goes on; and who added a part meanwhile is noticed."""
    folder = tmp_path / "model"
    tokenizer, both = tiny.backbone(), tiny.backbone()
    del tokenizer.parts["transformer"]

    bias = both.parts["transformer"].tree["head"]["bias"]

    class Meanwhile:  # a weight that is read while the first writes
        shape = bias.shape

        def __array__(self, dtype=None, copy=None):
            with pytest.raises(UserError, match="another process is writing backbone .*/model"):
                backbones.save(tokenizer, folder)
            return bias

    both.parts["transformer"].tree["head"]["bias"] = Meanwhile()
    backbones.save(both, folder)
    assert backbones.load(str(folder)).parts.keys() == both.parts.keys()
    with pytest.raises(UserError, match="or has just done so; wait until it is done"):
        backbones.save(tokenizer, folder, before=backbones.Backbone("", {}))
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "features.safetensors",
        "tokenizer.safetensors",
        "transformer.safetensors",
    ]


@pytest.mark.parametrize("code, message", [(errno.ENOLCK, ""), (errno.EIO, "choose another")])
def test_a_file_system_without_locks(code, message, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(code, "no")

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    if message:
        with pytest.raises(UserError, match=f"cannot write backbone .*: no; {message}"):
            backbones.save(tiny.backbone(), tmp_path / "model")
    else:
        assert backbones.save(tiny.backbone(), tmp_path / "model").fingerprint(PARTS)


def test_a_large_part_is_several_files(saved, tmp_path, monkeypatch):
    monkeypatch.setattr(write, "SHARD", 4000)
    split = backbones.save(tiny.backbone(), tmp_path / "split")
    files = sorted(path.name for path in (tmp_path / "split").glob("transformer*"))
    assert len(files) > 2 and files[0] == f"transformer-00001-of-{len(files):05}.safetensors"
    sizes = [(tmp_path / "split" / file).stat().st_size for file in files]
    largest = max(4 * x.size for x in flat(split.parts["transformer"]).values())
    assert max(sizes) < max(4000, largest) + 4000  # and a header
    assert same(split.parts["transformer"], saved.parts["transformer"])
    (tmp_path / "split" / files[1]).unlink()
    with pytest.raises(UserError, match=f"cannot read .*{files[1]}: No such file"):
        backbones.load(str(tmp_path / "split"))


def test_half_the_bytes(saved, tmp_path):
    half = backbones.save(tiny.backbone(), tmp_path / "half", "float16")
    exact, stored = flat(saved.parts["transformer"]), flat(half.parts["transformer"])
    for path, x in exact.items():
        assert stored[path].dtype == np.float16
        np.testing.assert_allclose(stored[path], x, rtol=1e-3, atol=1e-6)
    placed = half.parts["transformer"].placed(sharding.make_mesh())
    assert placed["words"].dtype == np.float32


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite(bad, tmp_path):
    backbone = tiny.backbone()
    backbone.parts["transformer"].tree["head"]["bias"] = np.full(3, bad, np.float32)
    with pytest.raises(UserError, match="transformer/head/bias holds NaN or infinite numbers"):
        backbones.save(backbone, tmp_path / "bad")
    assert not list(tmp_path.iterdir())


def test_numbers_too_large_for_half_the_bytes(tmp_path):
    backbone = tiny.backbone()
    backbone.parts["transformer"].tree["head"]["bias"] = np.full(3, 7e4, np.float32)
    with pytest.raises(UserError, match="head/bias holds 7e\\+04, more than float16 can"):
        backbones.save(backbone, tmp_path / "bad", "float16")
    assert not list(tmp_path.iterdir())


def test_a_host_reads_its_shards_and_no_more(saved, monkeypatch):
    """On a mesh of fsdp 2 x tensor 2 x data 2 each of 4 different parts is read once."""
    read = []
    get = StoredArray.__getitem__

    def counted(self, index):
        found = get(self, index)
        read.append((self.path, self.offset, found.size))
        return found

    monkeypatch.setattr(StoredArray, "__getitem__", counted)
    mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
    part = saved.part("transformer")
    placed = part.placed(mesh)
    up = part.tree["blocks"]["mlp"]["up"]["kernel"]
    sizes = [size for path, offset, size in read if (path, offset) == (up.path, up.offset)]
    assert sizes == [up.size // 4] * 4
    total = sum(x.size for x in params.flatten(part.tree).values())
    assert sum(size for *_, size in read) == total
    for path, x in params.flatten(placed).items():
        np.testing.assert_array_equal(x, params.flatten(part.tree)[path].read())
    # A second user of the same mesh reads nothing and holds nothing more.
    before = len(read)
    assert part.placed(mesh) is placed and len(read) == before


def test_training_leaves_the_arrays_of_the_backbone_alone(saved):
    """The step gives the state's buffers away; others may hold the same weights."""
    import optax

    from maskgit_prompt.tuning import train

    mesh = sharding.make_mesh()
    placed = saved.part("transformer").placed(mesh)
    tx = optax.sgd(1.0)
    state, frozen = train.init_state(
        {"transformer": placed}, ("transformer/head/.*",), tx, mesh, False
    )
    assert frozen["transformer"]["words"] is placed["words"]
    jax.jit(lambda x: jax.tree.map(lambda y: y + 1, x), donate_argnums=0)(state.trainable)
    np.testing.assert_array_equal(
        placed["head"]["bias"], saved.part("transformer").tree["head"]["bias"].read()
    )


def test_a_causal_transformer_behind_a_prompt():
    prompt = PromptConfig(attention="both")
    for kind, changed in (("causal", True), ("masked", False)):
        part = tiny.backbone(kind=kind).part("transformer")
        graphdefs = [part.prompted(p, Compute()) for p in (None, prompt)]
        plain, prompted = (nnx.merge(graphdef, part.tree).cfg for graphdef in graphdefs)
        assert plain == part.cfg
        assert (prompted != plain) is changed
        assert not changed or prompted.prompt_attention == "both"
