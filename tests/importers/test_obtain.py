"""What a user names, to files on this machine: published models, addresses, paths."""

import json
import pathlib
import shutil
import threading

import pytest

from maskgit_prompt import backbones
from maskgit_prompt.devices import distributed
from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.importers import obtain
from maskgit_prompt.importers.format import formats
from maskgit_prompt.importers.published import PUBLISHED, Published, is_elsewhere
from maskgit_prompt.importers.rules import Options
from maskgit_prompt.storage import addresses
from tests.golden_models import Case
from tests.jobs.importing import maskgit_files, random_backbone, write_torch
from tests.serving import Answer, Server


def serve(server: Server, *paths: str | pathlib.Path) -> dict[str, str]:
    """name -> address, of files that are served under their names."""
    names = [pathlib.Path(path).name for path in paths]
    bodies = [Answer(pathlib.Path(path).read_bytes()) for path in paths]
    return {name: server.put(f"/{name}", body) for name, body in zip(names, bodies, strict=True)}


# --- The table ------------------------------------------------------------------------------------


def test_the_table_of_published_models():
    assert {"maskgit-imagenet256", "maskgit-imagenet512", "taming-cin"} <= PUBLISHED.keys()
    assert not PUBLISHED.keys() & backbones.EMBEDDED.keys()
    for name, model in PUBLISHED.items():
        assert model.format in formats() and is_elsewhere(name)
        for address in model.files.values():
            assert addresses.url(address).startswith("https://")
    assert [addresses.url(a) for a in PUBLISHED["maskgit-imagenet512"].files.values()] == [
        f"https://storage.googleapis.com/maskgit-public/checkpoints/{part}_imagenet512_checkpoint"
        for part in ("tokenizer", "maskgit")
    ]
    assert not is_elsewhere("mini") and not is_elsewhere("models/maskgit-imagenet256")


# --- Published models -----------------------------------------------------------------------------


def published(monkeypatch, server: Server, tmp_path) -> None:
    """The model "tiny" of MaskGIT, in the table and on the server."""
    files = serve(server, *maskgit_files(tmp_path))
    model = Published("maskgit", files, "about 9 kB", "example.org/tiny", note="its page moved")
    monkeypatch.setitem(PUBLISHED, "tiny", model)


def test_a_published_model_is_fetched_and_imported_once(
    server, cache_home, tmp_path, monkeypatch, capsys
):
    published(monkeypatch, server, tmp_path)
    folder = obtain.backbone("tiny", download=True)
    assert folder == str(cache_home / "backbones" / "tiny")
    out = capsys.readouterr().out
    assert out.count("fetching ") == 2
    assert out.endswith(f"imported tiny into {folder}; terms of the weights: example.org/tiny\n")
    found = backbones.load(folder)
    assert (found.name, found.part("transformer").kind) == ("tiny", "masked")
    assert found.provenance["files"]["tokenizer"]["file"] == "tokenizer_checkpoint"
    shutil.rmtree(cache_home / "files")  # of no more use
    assert obtain.backbone("tiny", download=False) == folder and len(server.asked) == 2


def test_a_published_model_is_not_fetched_unless_asked(server, cache_home, tmp_path, monkeypatch):
    published(monkeypatch, server, tmp_path)
    for ask, key, way in (
        (
            lambda: obtain.backbone("tiny", False),
            "config.backbone",
            "and import it with configs/import.py, for --config.backbone=FOLDER",
        ),
        (
            lambda: obtain.files("tiny", False),
            "config.source",
            "and give the path, as --config.source=FILE",
        ),
    ):
        with pytest.raises(UsageError) as error:
            ask()
        text = str(error.value)
        assert text.startswith(
            f"{key} = 'tiny' (about 9 kB) is not in the cache {cache_home}, and noth"
        )
        listed = ", ".join(PUBLISHED["tiny"].files.values())
        assert f"add --config.download=True to fetch {listed}, or down" in text
        assert text.endswith(f"by hand, see example.org/tiny, {way} (its page moved)")
    assert server.asked == [] and not cache_home.exists()


def test_a_published_model_by_two_processes(server, cache_home, tmp_path, monkeypatch, capsys):
    published(monkeypatch, server, tmp_path)
    found = []
    load = lambda: found.append(obtain.backbone("tiny", True))
    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [str(cache_home / "backbones" / "tiny")] * 2 and len(server.asked) == 2
    assert capsys.readouterr().out.count("imported tiny") == 1


def test_each_host_fetches_and_imports_for_itself(server, cache_home, tmp_path, monkeypatch):
    def waits(_):
        raise AssertionError("for hosts that have caches of their own")

    monkeypatch.setattr(distributed, "is_first", lambda: False)
    monkeypatch.setattr(distributed, "barrier", waits)
    published(monkeypatch, server, tmp_path)
    assert backbones.load(obtain.backbone("tiny", True)).parts.keys() == {
        "tokenizer",
        "transformer",
    }


def test_what_its_files_do_not_tell_is_in_the_table(server, cache_home, tmp_path, monkeypatch):
    checkpoint = write_torch(tmp_path / "last.ckpt", Case("taming/net2net_tiny").parameters)
    options = Options(classes=7, heads=2)
    model = Published("taming", serve(server, checkpoint), "", "example.org", options)
    monkeypatch.setitem(PUBLISHED, "tiny", model)
    cfg = backbones.load(obtain.backbone("tiny", True)).part("transformer").cfg
    assert (cfg.classes, cfg.heads) == (7, 2)


def test_a_published_file_of_another_format(server, cache_home, tmp_path, monkeypatch):
    (tmp_path / "last.ckpt").write_bytes(bytes(range(256)))
    model = Published("taming", serve(server, tmp_path / "last.ckpt"), "", "example.org")
    monkeypatch.setitem(PUBLISHED, "tiny", model)
    with pytest.raises(UserError, match="last.ckpt starts with the bytes 00 01 02 03, expected a"):
        obtain.backbone("tiny", True)
    assert not (cache_home / "backbones" / "tiny").exists()


# --- A backbone's folder at an address ------------------------------------------------------------


@pytest.fixture
def folder(server, tmp_path) -> str:
    """The address of a backbone's folder."""
    backbones.save(random_backbone({"hidden_size": 8}), tmp_path / "tiny")
    for file in (tmp_path / "tiny").iterdir():
        server.put(f"/models/tiny/{file.name}", Answer(file.read_bytes()))
    return server.at("/models/tiny")


def test_a_backbone_at_an_address(server, cache_home, folder, tmp_path):
    found = obtain.backbone(folder, download=True)
    assert pathlib.Path(found).parent == cache_home / "backbones"
    assert pathlib.Path(found).name.startswith("tiny-")
    parts = ("tokenizer", "transformer")
    expected = backbones.load(str(tmp_path / "tiny")).fingerprint(parts)
    assert backbones.load(found).fingerprint(parts) == expected
    asked = len(server.asked)
    for address in (folder, f"{folder}/", f"{folder}/config.json"):
        assert obtain.backbone(address, download=False) == found
    assert len(server.asked) == asked == 3


def test_a_backbone_at_an_address_is_not_fetched_unless_asked(server, cache_home, folder):
    with pytest.raises(UsageError, match=f"'{folder}' is not in the cache .*FOLDER$"):
        obtain.backbone(folder, download=False)
    assert server.asked == []


def test_weights_at_an_address_that_are_not_those_of_its_config(server, cache_home, folder):
    server.put("/models/tiny/transformer.safetensors", Answer(bytes(999) + b"\x80"))
    with pytest.raises(
        UserError, match="transformer.safetensors is another file now, .* as listed"
    ):
        obtain.backbone(folder, download=True)
    with pytest.raises(UsageError, match="transformer.safetensors"):  # the rest is there
        obtain.backbone(folder, download=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "TypeError"),
        ('{"parts": {"tokenizer": {"files": {"../../evil": "ab"}}}}', "a part in '../../evil'"),
        ('{"parts": 3}', "AttributeError"),
        ('{"parts": {"a": {}}}', "KeyError"),
        ("{", "JSONDecodeError"),
    ],
)
def test_a_config_at_an_address_that_is_not_a_backbones(text, message, server, cache_home):
    server.put("/other/config.json", Answer(text.encode()))
    with pytest.raises(UserError) as error:
        obtain.backbone(server.at("/other"), download=True)
    assert f"{server.at('/other/config.json')} is not that of a backbone (" in str(error.value)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert not list(cache_home.rglob("config.json")) and not list(cache_home.rglob("evil"))


def test_a_checkpoint_at_an_address_in_place_of_a_backbone(server, cache_home, tmp_path):
    address = serve(server, maskgit_files(tmp_path)[0])["tokenizer_checkpoint"]
    with pytest.raises(UserError, match="checkpoint/config.json answers 404 .* configs/import.py"):
        obtain.backbone(address, download=True)


# --- Paths ----------------------------------------------------------------------------------------


def test_paths_and_embedded_backbones_stay(cache_home):
    for name in ("", "mini", "models/tiny", "maskgit-imagenet1024"):
        assert obtain.backbone(name, download=True) == name
    assert obtain.files("a,b", download=True) == ["a", "b"]


def test_paths_beside_addresses(server, cache_home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c,d").write_bytes(b"")
    assert obtain.files("c,d", download=False) == ["c,d"]
    address = server.put("/b.bin", Answer(bytes(range(256))))
    first, second = obtain.files(f"a,{address}", download=True)
    assert first == "a" and pathlib.Path(second).read_bytes() == bytes(range(256))
    record = json.loads((pathlib.Path(second).parent / ".fetched.json").read_text())
    assert record["b.bin"]["address"] == address
