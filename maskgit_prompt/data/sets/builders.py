"""TFDS's builders: finding what is prepared, saying how to prepare what is not, preparing it.

TensorFlow is not imported, but for gs:// paths and to prepare.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence

from absl import logging

from maskgit_prompt.devices import distributed
from maskgit_prompt.errors import UsageError, UserError


def import_tfds():
    """The module tensorflow_datasets.

    Raises:
      UserError: it is not installed.
    """
    try:
        import tensorflow_datasets
    except ModuleNotFoundError as error:
        if error.name != "tensorflow_datasets":
            raise
        raise UserError(
            "this data is read through TFDS, which is not installed (requirements-light.txt "
            "leaves it out): pip install -r requirements.txt, or use a folder of images"
        ) from error
    return tensorflow_datasets


def open_builder(name: str, versions: Sequence[str], data_dir: str):
    """The TFDS builder of the first version that is prepared, else of the first that exists.

    Args:
      name: "svhn_cropped" or "eurosat/rgb".
      versions: tried in this order: ("4.*.*", "3.*.*").
      data_dir: where prepared data lies; empty: $TFDS_DATA_DIR, or ~/tensorflow_datasets.

    Raises:
      UsageError: TFDS knows no such data set, configuration or version.
      UserError: its metadata is there, but damaged; or TFDS is not installed.
    """
    with _quiet():
        return _open_builder(name, versions, data_dir)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """TFDS warns of every folder that is not there, which is told better by whoever asks."""
    level = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(level)


def is_prepared(builder) -> bool:
    with _quiet():
        return builder.is_prepared()


def _open_builder(name: str, versions: Sequence[str], data_dir: str):
    tfds = import_tfds()

    first, wrong = None, None
    for version in versions:
        full = f"{name}:{version}" if version else name
        try:
            builder = tfds.builder(full, data_dir=data_dir or None)
            prepared = builder.is_prepared()
        except (tfds.core.registered.DatasetNotFoundError, AssertionError) as error:
            wrong = wrong or error
            continue
        except Exception as error:  # whatever TFDS raises on metadata it cannot read
            if isinstance(error, ValueError) and "BuilderConfig" in str(error):
                wrong = wrong or error
                continue
            reason = " ".join(str(error).split())
            raise UserError(
                f"what TFDS wrote beside {full} in {place(data_dir)} is damaged "
                f"({type(error).__name__}: {reason[:200]}); delete that folder and prepare it again"
            ) from error
        if prepared:
            return builder
        first = first or builder
    if first is None:
        reason = " ".join(str(wrong).split())
        raise UsageError(
            f"TFDS has no data set {name}:{'|'.join(versions)} ({reason[:200]}); check name and "
            "version in its catalogue"
        ) from wrong
    return first


def place(data_dir: str) -> str:
    """Where prepared data is looked for."""
    tfds = import_tfds()

    return os.fspath(data_dir or tfds.core.constants.DATA_DIR)


def manual_dir(data_dir: str) -> str:
    """Where TFDS looks for files that a person has to fetch."""
    return f"{place(data_dir)}/downloads/manual"


def how_to_prepare(name: str, data_dir: str) -> str:
    """The command that downloads and prepares a data set."""
    where = f", data_dir={data_dir!r}" if data_dir else ""
    script = f"import tensorflow_datasets as t; t.builder({name!r}{where}).download_and_prepare()"
    return f'python -c "{script}"'


def check_prepared(builder, how: str) -> None:
    """Raises UserError where a data set is not prepared; how: to prepare it."""
    if not is_prepared(builder):
        raise UserError(f"{builder.info.full_name} is not prepared in {builder.data_dir}: {how}")


def download(builder) -> None:
    """Downloads and prepares a data set; with several hosts, the first one does.

    Raises:
      UserError: whatever ends it: no network, files that a person has to fetch, missing packages.
    """
    wrong = ""
    if distributed.is_first():
        try:
            builder.download_and_prepare()
        except Exception as error:  # whatever a builder's own code raises
            text = " ".join(str(error).split())
            wrong = (
                f"{builder.info.full_name} cannot be prepared in {builder.data_dir}: "
                f"{type(error).__name__}: {text[:300]}"
            )
    wrong = distributed.gather(wrong.encode())[0].decode()  # so that all hosts go on, or none
    if wrong:
        raise UserError(wrong)
