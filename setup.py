"""Installs maskgit_prompt; what it needs stands in requirements.txt.

pip install -e .            pip install -e '.[dev]'            pip install -e '.[tpu]'
"""

import pathlib
import re

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent
LINES = [line.strip() for line in (HERE / "requirements.txt").read_text().splitlines()]
REQUIREMENTS = [line for line in LINES if line and not line.startswith("#")]
JAX = next(line.removeprefix("jax") for line in REQUIREMENTS if re.match(r"jax\W", line))
# Read, not imported: the package's imports are not there while it is being installed.
VERSION = re.search(
    r'^__version__ = "(.+)"$', (HERE / "maskgit_prompt" / "__init__.py").read_text(), re.M
)[1]

setup(
    name="maskgit-prompt",
    version=VERSION,
    description="Prompt tuning of frozen image transformers in JAX",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["maskgit_prompt", "maskgit_prompt.*"]),
    package_data={"maskgit_prompt": ["backbones/embedded/**"]},
    install_requires=REQUIREMENTS,
    extras_require={
        "tpu": [f"jax[tpu]{JAX}"],
        "cuda": [f"jax[cuda13]{JAX}"],
        # Kernels for config.attention=tokamax; the last release that runs on Python 3.11.
        "tokamax": ["tokamax>=0.0.12,<0.0.13"],
        # What TFDS needs to prepare some of VTAB's data sets; reading prepared ones does not.
        "vtab": ["opencv-python-headless>=5.0.0.93,<6"],
        "dev": [
            "packaging",
            "pytest>=9,<10",
            "pytest-xdist>=3.8,<4",
            "ruff>=0.17,<0.18",
            "setuptools>=77",
        ],
    },
    entry_points={"console_scripts": ["maskgit-prompt = maskgit_prompt.main:cli"]},
)
