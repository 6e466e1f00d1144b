"""Mean and covariance of features as .npz files, which other FID tools read and write.

    mu, sigma        float64 [F] and [F, F], named as by pytorch-fid, clean-fid, guided-diffusion
    mu_s, sigma_s    the same of sFID's features, as guided-diffusion's files have them
    maskgit_prompt   JSON: what they were made with; other tools pass it over

Statistics of one network, one file of weights and one way to resize do not compare with those of
another, and nothing in the numbers tells them apart. So a file of ours that was made otherwise is
refused; one of another tool, which does not say, is taken with a note.
"""

import dataclasses
import io
import json
import os
import pathlib
from typing import Any

import numpy as np

from maskgit_prompt.counts import counted
from maskgit_prompt.errors import UsageError, UserError
from maskgit_prompt.importers import npz
from maskgit_prompt.metrics.compared import Reference
from maskgit_prompt.storage.files import write_whole

KEY = "maskgit_prompt"
FORMAT = 1
TOLERANCE = 1e-6  # of the largest: by how much a covariance may differ from its transpose


@dataclasses.dataclass(frozen=True)
class Made:
    """What features were made with: what must be equal for distances to mean something.

    Attributes:
      network: its name.
      weights: sha256 of its file.
      resize: the convention by which images came to its size.
    """

    network: str
    weights: str
    resize: str


def is_statistics(path: str | os.PathLike) -> bool:
    """Whether a path names such a file, and not images."""
    return pathlib.PurePath(path).suffix.lower() == ".npz"


def write(path: str | os.PathLike, reference: Reference, made: Made, more: dict[str, Any]) -> None:
    """Writes the statistics of images; more: what else the file says of them.

    Raises:
      UserError: the file cannot be written.
    """
    arrays = {"mu": reference.mean, "sigma": reference.cov}
    if reference.spatial is not None:
        arrays["mu_s"], arrays["sigma_s"] = reference.spatial
    said = more | dataclasses.asdict(made) | {"images": reference.images, "format": FORMAT}
    file = io.BytesIO()
    np.savez(file, **arrays, **{KEY: np.array(json.dumps(said, sort_keys=True))})
    write_whole(path, file.getvalue())


def read(path: str | os.PathLike, made: Made, dims: int) -> tuple[Reference, str]:
    """(the statistics, a note; empty for a file of ours).

    Args:
      made: what the other images' features are made with.
      dims: F of these.

    Raises:
      UsageError: no such file. UserError: not such a file, a damaged one, numbers that are no
        statistics, or statistics that were made otherwise.
    """
    if not pathlib.Path(path).is_file():
        raise UsageError(f"no file {path}: expected statistics (.npz with mu and sigma)")
    arrays = npz.read(path)
    if missing := {"mu", "sigma"} - arrays.keys():
        raise UserError(
            f"{path} has no {' and no '.join(sorted(missing))}, only "
            f"{', '.join(list(arrays)[:6])}: expected statistics with mu and sigma, as FID tools "
            "save them; give such a file or the images themselves"
        )
    said = _said(path, arrays.get(KEY))
    if said:
        _check_made(path, said, made)
    mean, cov = _statistics(path, arrays, "mu", "sigma")
    if len(mean) != dims:
        raise UserError(
            f"{path} has statistics of {counted(len(mean), 'number')} a feature, expected {dims} "
            f"of {made.network}: give statistics made with that, or the images themselves"
        )
    spatial = None
    if {"mu_s", "sigma_s"} <= arrays.keys():
        spatial = _statistics(path, arrays, "mu_s", "sigma_s")
    note = (
        f"{path} does not say what it was made with: it is taken to be {made.network}, with images "
        f"resized by {made.resize}, and enough of them."
    )
    return Reference(mean, cov, spatial, said.get("images", 0)), "" if said else note


def _said(path: str | os.PathLike, stored: Any) -> dict[str, Any]:
    """What a file says of itself; empty for another tool's."""
    if stored is None:
        return {}
    try:
        said = json.loads(str(np.asarray(stored)[()]))
        Made(*(str(said[field.name]) for field in dataclasses.fields(Made)))
        if type(said["images"]) is not int or said["format"] != FORMAT:
            raise ValueError(f"format {said['format']}, images {said['images']!r}")
        return said
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: {KEY} is damaged ({error!r}), expected what the statistics were made with; "
            "make the file again from its images"
        ) from error


def _check_made(path: str | os.PathLike, said: dict[str, Any], made: Made) -> None:
    """Raises UserError for statistics that were made otherwise."""
    shown = lambda field, value: value[:12] + "…" if field == "weights" and value else repr(value)
    differ = [
        f"{field} {shown(field, str(said[field]))}, expected {shown(field, value)}"
        for field, value in dataclasses.asdict(made).items()
        if said[field] != value
    ]
    if differ:
        way_out = (
            f"set config.resize={said['resize']}"
            if len(differ) == 1 and said["resize"] != made.resize
            else "give the images in its place"
        )
        raise UserError(
            f"{path} was made otherwise than this run's features ({'; '.join(differ)}): distances "
            f"would mean nothing; {way_out}"
        )


def _statistics(
    path: str | os.PathLike, arrays: dict[str, Any], mu: str, sigma: str
) -> tuple[np.ndarray, np.ndarray]:
    """Mean [F] and covariance [F, F] as float64.

    Raises:
      UserError: other shapes, values that are not finite, or no covariance.
    """
    mean, cov = np.asarray(arrays[mu]), np.asarray(arrays[sigma])
    if mean.dtype.kind not in "fiu" or cov.dtype.kind not in "fiu":
        raise UserError(
            f"{path}: {mu} and {sigma} are of {mean.dtype} and {cov.dtype}, expected numbers; make "
            "the file again"
        )
    mean, cov = mean.astype(np.float64), cov.astype(np.float64)
    if mean.ndim != 1 or cov.shape != (len(mean), len(mean)):
        raise UserError(
            f"{path}: {mu} has shape {mean.shape} and {sigma} {cov.shape}, expected (F,) and "
            "(F, F); make the file again"
        )
    if not (np.isfinite(mean).all() and np.isfinite(cov).all()):
        raise UserError(
            f"{path}: {mu} or {sigma} holds NaN or infinite numbers, expected finite ones; make "
            "the file again"
        )
    largest = np.abs(cov).max(initial=0.0)
    if np.abs(cov - cov.T).max(initial=0.0) > TOLERANCE * largest or np.diag(cov).min() < 0:
        raise UserError(
            f"{path}: {sigma} is not a covariance (not symmetric, or a variance is negative), "
            "expected one; make the file again"
        )
    if not largest:
        raise UserError(
            f"{path}: {sigma} is 0 everywhere, as of images that all look the same; expected "
            "statistics of images that differ"
        )
    return mean, (cov + cov.T) / 2
