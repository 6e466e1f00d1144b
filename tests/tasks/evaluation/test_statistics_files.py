"""Statistics in files: what comes back, what other tools read and write, what is refused."""

import dataclasses
import json

import numpy as np
import pytest

from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.metrics.compared import Reference, Seen
from maskgit_prompt.tasks.evaluation import statistics_files
from maskgit_prompt.tasks.evaluation.statistics_files import Made, is_statistics, read, write

MADE = Made("inception", "ab" * 32, "clean")
RNG = np.random.default_rng(0)
SEEN = Seen(RNG.normal(size=(7, 3)), RNG.normal(size=(7, 2)))


@pytest.fixture
def path(tmp_path):
    write(tmp_path / "real.npz", Reference.of(SEEN), MADE, {"size": [64, 48]})
    return tmp_path / "real.npz"


def test_what_is_written_comes_back(path):
    found, note = read(path, MADE, 3)
    np.testing.assert_array_equal(found.mean, SEEN.features.mean(axis=0))
    np.testing.assert_allclose(found.cov, np.cov(SEEN.features.T), rtol=1e-12)
    np.testing.assert_allclose(found.spatial[1], np.cov(SEEN.spatial.T), rtol=1e-12)
    assert (found.images, found.seen, note) == (7, None, "")


def test_other_tools_read_it(path):
    with np.load(path) as stored:  # which refuses Python objects
        assert stored["mu"].dtype == stored["sigma"].dtype == np.float64
        assert stored["mu"].shape == (3,) and stored["sigma"].shape == (3, 3)
        assert stored["mu_s"].shape == (2,) and stored["sigma_s"].shape == (2, 2)
        said = json.loads(str(stored["maskgit_prompt"]))
    assert said == {
        "network": "inception",
        "weights": "ab" * 32,
        "resize": "clean",
        "images": 7,
        "size": [64, 48],
        "format": 1,
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resize": "legacy_pytorch"}, "resize 'clean', expected 'legacy_pytorch'): distances would"
         " mean nothing; set config.resize=clean"),
        ({"weights": "cd" * 32}, "weights abababababab…, expected cdcdcdcdcdcd…): distances would "
         "mean nothing; give the images in its place"),
        ({"network": "mini64", "resize": "legacy_tensorflow"}, "network 'inception', expected "
         "'mini64'; resize 'clean', expected 'legacy_tensorflow'): distances would mean nothing; "
         "give the images in its place"),
    ],
)  # fmt: skip
def test_statistics_made_otherwise(path, change, message):
    with pytest.raises(UserError) as caught:
        read(path, dataclasses.replace(MADE, **change), 3)
    assert str(caught.value) == (f"{path} was made otherwise than this run's features ({message}")


def foreign(tmp_path, **arrays):
    np.savez(tmp_path / "stats.npz", **arrays)
    return tmp_path / "stats.npz"


def test_a_file_of_another_tool(tmp_path):
    cov = np.float32([[2, 1], [1, 3]])
    images = np.zeros((2, 4, 4, 3), np.uint8)  # guided-diffusion's reference files hold some
    path = foreign(tmp_path, mu=np.float32([1, 2]), sigma=cov, arr_0=images)
    found, note = read(path, MADE, 2)
    np.testing.assert_array_equal(found.mean, [1, 2])
    np.testing.assert_array_equal(found.cov, cov)
    assert found.mean.dtype == found.cov.dtype == np.float64
    assert (found.spatial, found.images) == (None, 0)
    assert note == (
        f"{path} does not say what it was made with: it is taken to be inception, with images "
        "resized by clean, and enough of them."
    )


EYE, INFINITE = np.eye(2), np.full((2, 2), np.inf)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"mu": [0, 0]}, "has no sigma, only mu: expected statistics with mu and sigma"),
        ({"arr_0": [0.0]}, "has no mu and no sigma, only arr_0: expected"),
        ({"mu": [0.0, 0], "sigma": np.eye(3)}, "mu has shape (2,) and sigma (3, 3), expected"),
        ({"mu": [[0.0, 0]], "sigma": EYE}, "mu has shape (1, 2) and sigma (2, 2), expected"),
        ({"mu": [0.0, np.nan], "sigma": EYE}, "mu or sigma holds NaN or infinite numbers"),
        ({"mu": [0.0, 0], "sigma": INFINITE}, "mu or sigma holds NaN or infinite numbers"),
        ({"mu": [0.0, 0], "sigma": [[1, 0.5], [0.4, 1]]}, "sigma is not a covariance"),
        ({"mu": [0.0, 0], "sigma": [[-1.0, 0], [0, 1]]}, "sigma is not a covariance"),
        ({"mu": [0.0, 0], "sigma": 0 * EYE}, "sigma is 0 everywhere, as of images that all look"),
        ({"mu": ["a", "b"], "sigma": EYE}, "mu and sigma are of <U1 and float64, expected numbers"),
        ({"mu": [0.0], "sigma": [[1.0]]}, "has statistics of 1 number a feature, expected 2 of"),
        ({"mu": [0.0, 0], "sigma": EYE, "maskgit_prompt": "{"}, "maskgit_prompt is damaged"),
        ({"mu": [0.0, 0], "sigma": EYE, "maskgit_prompt": "{}"}, "maskgit_prompt is damaged"),
    ],
)  # fmt: skip
def test_files_that_are_no_statistics(tmp_path, arrays, message):
    path = foreign(tmp_path, **arrays)
    with pytest.raises(UserError) as caught:
        read(path, MADE, 2)
    assert message in str(caught.value) and str(caught.value).startswith(str(path))
    assert str(caught.value).isprintable()


def test_files_that_are_no_archive(tmp_path, path):
    with pytest.raises(UsageError, match=r"no file .*none.npz: expected statistics"):
        read(tmp_path / "none.npz", MADE, 3)
    (tmp_path / "text.npz").write_text("mu")
    with pytest.raises(UserError, match="text.npz"):
        read(tmp_path / "text.npz", MADE, 3)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="real.npz"):
        read(path, MADE, 3)
    np.savez(tmp_path / "objects.npz", mu=np.array([None]), sigma=EYE)
    with pytest.raises(UserError, match=r"mu.npy holds Python objects"):
        read(tmp_path / "objects.npz", MADE, 2)


def test_statistics_are_known_by_their_ending():
    assert is_statistics("a/b.npz") and is_statistics("B.NPZ")
    assert not is_statistics("a.npz/b") and not is_statistics("b.zip")
    assert statistics_files.KEY == "maskgit_prompt"
