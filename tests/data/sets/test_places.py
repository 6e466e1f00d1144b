"""Archives are read as the folders they were made of."""

import io
import os
import pathlib
import struct
import tarfile
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from maskgit_prompt.data.names import legible
from maskgit_prompt.data.pixels import Preprocessing
from maskgit_prompt.data.sets import places
from maskgit_prompt.data.sets.folder import image_folder
from maskgit_prompt.data.sets.zip_names import member_names
from maskgit_prompt.errors import UsageError, UserError
from tests.data.pictures import encoded, save

KINDS = ("zip", "tar", "tar.gz", "tar.bz2", "tar.xz")
PNG = encoded(Image.new("RGB", (8, 8), (1, 2, 3)))
OTHER = encoded(Image.new("RGB", (8, 8), (1, 200, 3)))


def set_of_three(folder: pathlib.Path) -> pathlib.Path:
    save(folder / "cat" / "a.png", (1, 0, 0))
    save(folder / "dog" / "b.png", (2, 0, 0))
    save(folder / "dog" / "deep" / "c.png", (3, 0, 0))
    save(folder / "dog" / ".hidden.png")
    save(folder / "__MACOSX" / "dog" / "d.png")
    (folder / "dog" / "notes.txt").write_text("no image")
    return folder


def archived(folder: pathlib.Path, file: pathlib.Path, prefix: str = "") -> pathlib.Path:
    """The files and folders of a folder, under a prefix."""
    inside = [path.relative_to(folder) for path in sorted(folder.rglob("*"))]
    if file.suffix == ".zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in inside:
                archive.write(folder / path, f"{prefix}{path}")
    else:
        kind = file.name.rpartition("tar")[2].lstrip(".")
        with tarfile.open(file, f"w:{kind}") as archive:
            for path in inside:
                archive.add(folder / path, f"{prefix}{path}", recursive=False)
    return file


def zip_of(file: pathlib.Path, **members: bytes) -> pathlib.Path:
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file


@pytest.mark.parametrize("prefix", ["", "./", "photos/"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_equals_its_folder(kind, prefix, tmp_path):
    folder = image_folder(set_of_three(tmp_path / "photos"), Preprocessing(8))
    archive = image_folder(
        archived(tmp_path / "photos", tmp_path / f"photos.{kind}", prefix), Preprocessing(8)
    )
    assert folder.ids == archive.ids == ("cat/a.png", "dog/b.png", "dog/deep/c.png")
    assert archive.classes == ("cat", "dog") and archive.labels.tolist() == [0, 1, 1]
    assert archive.name == folder.name == "photos"
    assert archive.fingerprint == folder.fingerprint
    assert archive.read(np.array([2, 0, 1]))[:, 0, 0, 0].tolist() == [3, 1, 2]


def test_an_archive_is_known_by_its_contents(tmp_path):
    set_of_three(tmp_path / "photos")
    archived(tmp_path / "photos", tmp_path / "a.zip").rename(tmp_path / "a.tar")
    archived(tmp_path / "photos", tmp_path / "b.tar").rename(tmp_path / "b")
    assert (
        len(image_folder(tmp_path / "a.tar", Preprocessing(8)))
        == len(image_folder(tmp_path / "b", Preprocessing(8)))
        == 3
    )


def test_a_flat_archive_is_one_class(tmp_path):
    flat = zip_of(tmp_path / "birds.zip", **{"a.png": PNG, "b.png": PNG})
    assert image_folder(flat, Preprocessing(8)).classes == ("birds",)
    below = zip_of(tmp_path / "x.zip", **{"birds/a.png": PNG, "birds/b.png": PNG})
    assert image_folder(below, Preprocessing(8)).classes == ("birds",)


def test_a_path_may_go_on_inside_an_archive(tmp_path):
    names = [f"set/{split}/{c}/0.png" for split in ("train", "val") for c in ("cat", "dog")]
    archive = zip_of(tmp_path / "set.zip", **dict.fromkeys(names, PNG))
    images = image_folder(archive / "train", Preprocessing(8))
    assert images.name == "train" and images.ids == ("cat/0.png", "dog/0.png")
    with pytest.raises(UsageError, match=r"no folder test in .*set\.zip/set, which has train, val"):
        image_folder(archive / "test", Preprocessing(8))


def test_a_tar_of_a_zip_is_a_tar(tmp_path):
    inner = zip_of(tmp_path / "z.zip", **{"no.png": PNG})
    with tarfile.open(tmp_path / "both.tar", "w") as archive:
        archive.add(save(tmp_path / "a.png"), "a.png")
        archive.add(inner, "z.zip")
    assert image_folder(tmp_path / "both.tar", Preprocessing(8)).ids == ("a.png",)


def test_links_are_left_out_and_a_second_file_of_a_name_replaces_the_first(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for colour in ((1, 0, 0), (2, 0, 0)):
            archive.add(save(tmp_path / "a.png", colour), "a.png")
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    images = image_folder(tmp_path / "a.tar", Preprocessing(8))
    assert images.ids == ("a.png",) and images.pixels()[0, 0, 0].tolist() == [2, 0, 0]
    link = zipfile.ZipInfo("link.png")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", PNG)
        archive.writestr(link, "/etc/passwd")
    assert image_folder(tmp_path / "a.zip", Preprocessing(8)).ids == ("a.png",)


def test_names_of_macos_and_of_windows(tmp_path):
    file = zip_of(tmp_path / "mac.zip", **{"h\N{LATIN SMALL LETTER U WITH DIAERESIS}/a.png": PNG})
    data = bytearray(file.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(magic) + offset + 1] = 0  # the flag "names are UTF-8"
    file.write_bytes(data)
    assert image_folder(file, Preprocessing(8)).classes == (
        "h\N{LATIN SMALL LETTER U WITH DIAERESIS}",
    )
    names = [zipfile.ZipInfo(name) for name in ("cat\\a.png", "dog\\b.png")]
    with zipfile.ZipFile(tmp_path / "windows.zip", "w") as archive:
        for info in names:
            info.create_system = 0
            archive.writestr(info, PNG)
    assert image_folder(tmp_path / "windows.zip", Preprocessing(8)).ids == (
        "cat/a.png",
        "dog/b.png",
    )


def renamed(file: pathlib.Path, old: bytes, new: bytes, flag: bool = False) -> pathlib.Path:
    """A zip with a name in other bytes, as many; flag: whether it says that names are UTF-8."""
    data = bytearray(file.read_bytes().replace(old, new))
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(magic) + offset + 1] = 8 * flag
    file.write_bytes(data)
    return file


@pytest.mark.parametrize(
    ("name", "shown", "sure"),
    [
        (b"caf\x82", "café", False),  # code page 437, the format's own
        (b"caf\xe9", "cafΘ", False),  # Latin-1: nothing says so
        (b"caf" + b"\xcc\x81", "caf\u0301", True),  # UTF-8 without its flag
        ("hé".encode() + b"xx", "héxx", True),
    ],
)
def test_names_in_zips_of_other_code_pages(name, shown, sure, tmp_path):
    length = len(name)
    file = zip_of(tmp_path / "a.zip", **{f"{'x' * length}/a.png": PNG, "dog/b.png": OTHER})
    images = image_folder(renamed(file, b"x" * length + b"/", name + b"/"), Preprocessing(8))
    assert set(images.classes) == {legible(shown), "dog"}
    assert bool(images.found.notes) != sure
    if not sure:
        assert images.found.notes == (
            f"{file} does not say how names are written (1, read as code page 437, the first as "
            f"{shown}/a.png): if that is wrong, make the archive again with names in UTF-8",
        )
    assert len(images.pixels()) == 2


def unicode_path(name: str, crc: int, version: int = 1) -> bytes:
    field = struct.pack("<BI", version, crc) + name.encode()
    return struct.pack("<HHI", 0x5455, 4, 0) + struct.pack("<HH", 0x7075, len(field)) + field


@pytest.mark.parametrize(
    ("crc", "version", "shown"),
    [
        (zlib.crc32(b"caf\x82/a.png"), 1, "日本"),
        (zlib.crc32(b"another"), 1, "café"),  # of a name that was changed since
        (zlib.crc32(b"caf\x82/a.png"), 2, "café"),
    ],
)
def test_info_zips_field_of_the_name_in_unicode(crc, version, shown, tmp_path):
    info = zipfile.ZipInfo("xxxx/a.png")
    info.extra = unicode_path("日本/a.png", crc, version)
    file = tmp_path / "a.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(info, PNG)
        archive.writestr("dog/b.png", OTHER)
    images = image_folder(renamed(file, b"xxxx/", b"caf\x82/"), Preprocessing(8))
    assert set(images.classes) == {shown, "dog"} and len(images.pixels()) == 2


def test_a_tar_of_names_that_are_not_utf8(tmp_path):
    file = tmp_path / "a.tar"
    with tarfile.open(file, "w", format=tarfile.USTAR_FORMAT, encoding="latin-1") as archive:
        archive.add(save(tmp_path / "a.png"), "café/a.png")
        archive.add(save(tmp_path / "b.png", (0, 200, 0)), "dog/b.png")
    images = image_folder(file, Preprocessing(8))
    assert images.classes == (r"caf\xe9", "dog") and len(images.pixels()) == 2


def test_a_damaged_member_is_skipped_and_named(tmp_path, warnings):
    file = zip_of(tmp_path / "a.zip", **{"good.png": PNG, "bad.png": PNG})
    data = bytearray(file.read_bytes())
    data[data.index(b"bad.png") + len("bad.png") + 50] ^= 1
    file.write_bytes(data)
    assert image_folder(file, Preprocessing(8)).ids == ("good.png",)
    assert warnings[0].startswith(f"skipped 1 of 2 images in {file}: bad.png (Bad CRC-32")


def test_a_sparse_member_of_a_tar_is_skipped_and_named(tmp_path, warnings, monkeypatch):
    file = archived(set_of_three(tmp_path / "set"), tmp_path / "set.tar")
    monkeypatch.setattr(tarfile.TarInfo, "issparse", lambda info: info.name == "dog/b.png")
    assert image_folder(file, Preprocessing(8)).ids == ("cat/a.png", "dog/deep/c.png")
    assert "dog/b.png (stored as a sparse file, make the archive without --sparse)" in warnings[0]


def test_an_archive_that_changes_while_in_use(tmp_path):
    file = archived(set_of_three(tmp_path / "set"), tmp_path / "set.tar")
    images = image_folder(file, Preprocessing(8))
    data = file.read_bytes()
    with open(file, "r+b") as same:
        same.write(data.replace(b"IHDR", b"IHDX"))
    with pytest.raises(UserError, match=r"set\.tar/cat/a\.png changed while in use \(other"):
        images.pixels()


# Which archives are refused.


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_that_is_cut_short(kind, tmp_path):
    folder = set_of_three(tmp_path / "set")
    # Pixels that do not compress: the archive is long enough to be cut in the middle of them.
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(folder / "dog" / "e.png")
    file = archived(folder, tmp_path / f"set.{kind}")
    file.write_bytes(file.read_bytes()[: -file.stat().st_size // 3])
    with pytest.raises(UserError, match=rf"set\.{kind} is damaged or cut short \(.*again") as found:
        image_folder(file, Preprocessing(8))
    assert "\n" not in str(found.value)


def test_a_tar_that_is_cut_before_a_header_or_whose_header_is_wrong(tmp_path):
    set_of_three(tmp_path / "set")
    file = tmp_path / "set.tar"
    with tarfile.open(file, "w", format=tarfile.USTAR_FORMAT) as archive:
        archive.add(tmp_path / "set", "")
    data = bytearray(file.read_bytes())
    at = data.index(b"dog/b.png")  # a header begins with the name
    wrong = data[:at] + b"x" + data[at + 1 :]
    for damaged in (data[:at], wrong):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match=rf"neither a file nor the end at byte {at:,}"):
            image_folder(file, Preprocessing(8))


def test_an_encrypted_zip(tmp_path):
    file = zip_of(tmp_path / "a.zip", **{"a.png": PNG, "b.png": PNG})
    data = bytearray(file.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(magic) + offset] |= 1
    file.write_bytes(data)
    with pytest.raises(UserError, match=r"a\.zip is encrypted, 1 image \(a\.png\): make it"):
        image_folder(file, Preprocessing(8))


def test_an_archive_without_images_and_one_that_may_not_be_read(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"no images in .*a\.zip: expected"):
        image_folder(zip_of(tmp_path / "a.zip", **{"notes.txt": b""}), Preprocessing(8))
    (tmp_path / "empty.tar").write_bytes(b"")
    with pytest.raises(UserError, match=r"empty\.tar is damaged or cut short \(it has neither"):
        image_folder(tmp_path / "empty.tar", Preprocessing(8))

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(places.tarfile, "is_tarfile", refuse)
    with pytest.raises(UserError, match=r"a\.zip cannot be read \(permission denied\): check"):
        image_folder(tmp_path / "a.zip", Preprocessing(8))


def test_no_room_to_decompress(tmp_path, monkeypatch):
    file = archived(set_of_three(tmp_path / "set"), tmp_path / "set.tar.gz")

    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(28, os.strerror(28))

    monkeypatch.setattr(places.tempfile, "TemporaryFile", Full)
    with pytest.raises(UserError, match=r"cannot write .*set\.tar\.gz.*TMPDIR.*free some space"):
        image_folder(file, Preprocessing(8))


def test_a_zip_with_backslashes_whatever_system_it_says_it_is_of(tmp_path):
    members = {rf"set\\{name}\\{i}.png": PNG for name in "ab" for i in range(2)}
    found = image_folder(zip_of(tmp_path / "win.zip", **members), Preprocessing(8))
    assert found.classes == ("a", "b")


def names_in(*names: str, windows: bool = False) -> list[str]:
    """What `member_names` makes of a zip's names, as a Windows or a Unix program says to write."""
    infos = [zipfile.ZipInfo(name) for name in names]
    for info, name in zip(infos, names, strict=True):
        info.orig_filename, info.create_system = name, 0 if windows else 3
    return [name for name, _ in member_names(infos)]


def test_backslashes_separate_folders_where_no_name_has_a_slash():
    assert names_in(r"a\0.png", r"b\1.png") == ["a/0.png", "b/1.png"]
    assert names_in(r"a\0.png", "c/2.png") == [r"a\0.png", "c/2.png"]
    assert names_in(r"a\0.png", "c/2.png", windows=True) == ["a/0.png", "c/2.png"]


def test_backslashes_inside_characters_of_another_code_page_separate_nothing():
    """In Shift JIS the second bytes of these two begin a folder's name like a backslash would."""
    names = [
        name.encode("shift_jis").decode("cp437") for name in ("ソ/0.png", "ソフト/0.png", "b/1.png")
    ]
    assert "\\" in names[0] and names_in(*names, windows=True) == names


def test_entries_of_folders_with_backslashes_are_no_files(tmp_path):
    members = {"set\\a\\": b"", r"set\a\0.png": PNG, "set\\b\\": b"", r"set\b\0.png": OTHER}
    found = image_folder(zip_of(tmp_path / "win.zip", **members), Preprocessing(8))
    assert (found.classes, found.found.left_out) == (("a", "b"), ())


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_stands_twice_in_an_archive_is_told(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, data in (("a.png", PNG), ("./a.png", OTHER), ("b.png", PNG)):
            archive.writestr(name, data)
    found = image_folder(tmp_path / "a.zip", Preprocessing(8))
    assert found.pixels()[:, 0, 0, 1].tolist() == [200, 2]
    assert [kind.line() for kind in found.found.left_out] == [f"{places.REPLACED}: 1 (a.png)"]


@pytest.mark.parametrize("inner", ["ds/train", "train", "ds/train/"])
def test_a_path_that_goes_on_after_an_archive_may_begin_with_its_only_folder(inner, tmp_path):
    members = {f"ds/{part}/{name}/0.png": PNG for part in ("train", "test") for name in "ab"}
    file = zip_of(tmp_path / "sets.zip", **members)
    assert image_folder(f"{file}/{inner}", Preprocessing(8)).classes == ("a", "b")
    with pytest.raises(UserError, match="name one of them, as .*/sets.zip/ds/t"):
        image_folder(f"{file}/ds", Preprocessing(8))
