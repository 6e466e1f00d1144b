"""Backbones: frozen models as folders. Other rooms use the names listed here."""

from maskgit_prompt.backbones.backbone import Backbone, Part
from maskgit_prompt.backbones.load import (
    EMBEDDED,
    FORMAT,
    embedded_with,
    load,
    load_for,
)
from maskgit_prompt.backbones.registry import abstract, axes, kinds, make_module, stored_fields
from maskgit_prompt.backbones.write import PARTIAL, leftovers, save

__all__ = [
    "EMBEDDED",
    "FORMAT",
    "PARTIAL",
    "Backbone",
    "Part",
    "abstract",
    "axes",
    "embedded_with",
    "kinds",
    "leftovers",
    "load",
    "load_for",
    "make_module",
    "save",
    "stored_fields",
]
