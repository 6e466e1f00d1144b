"""Small codes files: images, what encodes them, and building."""

import numpy as np

from maskgit_prompt.data import codes_writer
from maskgit_prompt.data.images import ImageSet

KEY = {"tokenizer": "abc", "size": 4}


def image_set(n=10, fingerprint="f", labels=None):
    """Image i has red i and, left of its middle, green 100."""
    pixels = np.zeros([n, 4, 4, 3], np.uint8)
    pixels[..., 0] = np.arange(n)[:, None, None]
    pixels[:, :, :2, 1] = 100
    labels = np.arange(n, dtype=np.int32) % 2 if labels is None else labels
    ids = tuple(map(str, range(n)))
    return ImageSet("set", ("a", "b"), labels, ids, fingerprint, lambda i: pixels[i])


class Encoder:
    """Codes of an image: its red, and the green of its first and last column."""

    def __init__(self, stop_after=None, offset=0):
        self.batches = []
        self.stop_after = stop_after
        self.offset = offset

    def __call__(self, pixels):
        if len(self.batches) == self.stop_after:
            raise KeyboardInterrupt
        self.batches.append(pixels[:, 0, 0, 0].tolist())
        values = [pixels[:, 0, 0, 0], pixels[:, 0, 0, 1], pixels[:, 0, 3, 1]]
        return np.stack(values, 1).astype(np.int32) + self.offset  # [B, 3]


def build(path, encode, images=None, key=KEY, batch_size=4, **options):
    """A codes file of ten images, three a shard, encoded four at a time."""
    images = image_set() if images is None else images
    encoding = codes_writer.Encoding(encode, batch_size, key)
    return codes_writer.build(path, images, encoding, **{"shard_size": 3, **options})


def files(path):
    return {
        str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()
    }


def damage_truncate(path):
    path.write_bytes(path.read_bytes()[:-4])


def damage_flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def damage_remove(path):
    path.unlink()
