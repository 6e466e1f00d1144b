"""How well a backbone that was pretrained on drawn pictures keeps others of the same kind.

    python benchmarks/reconstruction.py mini          # prints it
    python benchmarks/reconstruction.py mini --write  # and stores it in the backbone's config.json

Reports show it next to what the backbone keeps of a user's images. Run it again when tokenizer,
feature network or drawn pictures have changed; it takes a few seconds.
"""

import argparse
import json
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from maskgit_prompt import backbones  # noqa: E402
from maskgit_prompt.backbones import compiled  # noqa: E402
from maskgit_prompt.backbones.backbone import checksum  # noqa: E402
from maskgit_prompt.backbones.load import EMBEDDED  # noqa: E402
from maskgit_prompt.data.sets import synthetic  # noqa: E402
from maskgit_prompt.devices import sharding  # noqa: E402
from maskgit_prompt.metrics import reconstruction  # noqa: E402
from maskgit_prompt.storage.files import write_whole  # noqa: E402

SEED = 2**40  # far from the seeds that backbones are pretrained with
EACH = 3  # pictures of each class


def measure(name: str, num: int = EACH * len(synthetic.CLASSES)) -> dict[str, Any]:
    """What config.json holds as provenance.reconstruction, of the first `num` pictures."""
    backbone, mesh = backbones.load(name), sharding.make_mesh()
    tokenizer = backbone.part("tokenizer")
    real = synthetic.image_set(num, SEED, tokenizer.cfg.image_size).pixels()
    encode, size = compiled.make_encoder(tokenizer, mesh)
    made = compiled.make_decoder(tokenizer, mesh)(compiled.in_batches(encode, real, size))
    features = compiled.make_features(backbone.part("features"), mesh)
    found = reconstruction.measure(real, made, (features(real), features(made)))
    for number, digits in (("psnr", 2), ("feature_distance", 4)):
        found[number] = round(found[number], digits)
    command = f"python benchmarks/reconstruction.py {name} --write"
    return found | {"of": "drawn pictures that it was not trained on", "command": command}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("backbone", help="an embedded backbone's name, or a folder")
    parser.add_argument("--write", action="store_true", help="store it in the backbone")
    args = parser.parse_args(arguments)
    found = measure(args.backbone)
    print(json.dumps(found, indent=1))
    if args.write:
        path = EMBEDDED.get(args.backbone, pathlib.Path(args.backbone)) / "config.json"
        config = json.loads(path.read_text())
        config["provenance"]["reconstruction"] = found
        if "sha256" in config:
            config["sha256"] = checksum(config)
        write_whole(path, (json.dumps(config, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
