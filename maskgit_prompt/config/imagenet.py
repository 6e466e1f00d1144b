"""The pretraining of ImageNet's published models: their sizes and their hyper-parameters.

What the papers and the reference implementations say is set here. Where they say nothing, a comment
says that the value is ours; so are all defaults of the job that are not set here.
"""

from ml_collections import ConfigDict

from maskgit_prompt.config.pretraining import pretrain
from maskgit_prompt.errors import UsageError

IMAGES = 1_281_167  # of ImageNet's training split


def maskgit(stage: str, image_size: int, file: str) -> ConfigDict:
    """MaskGIT (arXiv 2202.04200) at 256 or 512 pixels.

    Args:
      stage: "tokenizer" or "transformer".
      file: the config file's name, for messages.
    """
    config = _imagenet(stage, image_size, file)
    config.name = f"maskgit-imagenet{image_size}"
    config.train.batch_size = 256
    config.optimizer.learning_rate = 1e-4  # ours, and so is the warm-up
    config.optimizer.warmup_steps = 5_000
    config.optimizer.clip = 0.0  # ours
    if stage == "tokenizer":
        config.train.steps = 1_000_000  # ours
        config.optimizer.b1, config.optimizer.b2 = 0.0, 0.99  # as StyleGAN2, ours
        config.tokenizer = ConfigDict(
            {
                "image_size": image_size,
                "codebook": 1024,
                "embedding": 256,
                "filters": 128,
                "multipliers": (1, 1, 2, 2, 4),
                "blocks": 2,
                "groups": 32,
                "conv_downsample": False,
                "shortcut": "branch",
            }
        )
        config.quantizer.entropy = 0.1
        # Ours, and so is the network of the perceptual distance.
        config.reconstruction.l1, config.reconstruction.l2 = 0.0, 1.0
        config.reconstruction.perceptual = 0.1
        config.adversarial.discriminator = "stylegan"
        config.adversarial.penalty = 10.0
        config.adversarial.weight = 0.1  # ours
        config.adversarial.loss = "non_saturating"  # ours
        config.adversarial.start = 20_000  # ours
    else:
        config.train.steps = 300 * IMAGES // 256  # 300 epochs
        config.optimizer.b1, config.optimizer.b2 = 0.9, 0.96
        config.optimizer.weight_decay = 0.045  # ours, with biases and norms left out
        config.optimizer.decays = (".*(bias|scale)=0",)
        config.masking.smoothing = 0.1
        config.masking.drop_class = 0.1  # ours: the published model knows no guidance
        config.transformer = ConfigDict(
            {"width": 768, "layers": 24, "heads": 16, "mlp": 3072, "dropout": 0.1}
        )
    return config


def taming(stage: str, file: str) -> ConfigDict:
    """Taming Transformers (arXiv 2012.09841) at 256 pixels: VQGAN f16 and the GPT of 1.4 billion.

    Args:
      stage: "tokenizer" or "transformer".
      file: the config file's name, for messages.
    """
    config = _imagenet(stage, 256, file)
    config.name = "taming-imagenet256"
    config.optimizer.schedule = "constant"
    config.optimizer.clip = 0.0
    # The reference's rate is 4.5e-6 times the images of a step, on all devices.
    config.train.batch_size = 96  # ours
    config.optimizer.learning_rate = 4.5e-6 * config.train.batch_size
    if stage == "tokenizer":
        config.tokenizer_kind = "vqgan"
        config.train.steps = 750_000  # ours
        config.optimizer.b1, config.optimizer.b2 = 0.5, 0.9
        config.tokenizer = ConfigDict(
            {
                "image_size": 256,
                "codebook": 16_384,
                "embedding": 256,
                "latent": 256,
                "filters": 128,
                "multipliers": (1, 1, 2, 2, 4),
                "blocks": 2,
                "attention": (4,),
                "groups": 32,
            }
        )
        # The reference weighs the codebook's term with 0.25, where the paper weighs the other one.
        config.quantizer.commitment, config.quantizer.codebook = 1.0, 0.25
        config.quantizer.entropy = 0.0
        config.reconstruction.l1, config.reconstruction.l2 = 1.0, 0.0
        config.reconstruction.perceptual = 1.0
        config.reconstruction.network = "vgg16.pth,vgg.pth"
        config.adversarial.weight = 0.8
        config.adversarial.discriminator = "patch"
        config.adversarial.loss = "hinge"
        config.adversarial.start = 250_001
        config.adversarial.adaptive = True
    else:
        config.model = "causal"
        config.train.steps = 100 * IMAGES // config.train.batch_size  # ours
        config.optimizer.b1, config.optimizer.b2 = 0.9, 0.95
        config.optimizer.weight_decay = 0.01
        config.optimizer.decays = (".*(bias|scale|embedding|positions)=0",)
        config.next_code.smoothing = 0.0
        config.transformer = ConfigDict(
            # Dropout is that of the reference's scene models; this one's config was not published.
            {"width": 1536, "layers": 48, "heads": 24, "mlp": 6144, "dropout": 0.1}
        )
    return config


def _imagenet(stage: str, image_size: int, file: str) -> ConfigDict:
    """What both have: ImageNet from TFDS, random squares, bfloat16."""
    if stage not in ("tokenizer", "transformer"):
        raise UsageError(f"configs/{file}:{stage}, expected tokenizer or transformer")
    config = pretrain(stage)
    config.dtype = "bfloat16"
    config.data.sets = ("tfds:imagenet2012:train",)
    config.data.size = image_size
    # Ours, and so are the numbers of steps below.
    config.data.heldout = 0.01
    config.data.zoom = (0.8, 1.0)
    config.data.flips = config.data.sets
    if stage == "transformer":
        config.data.views = 10  # ours: codes are made once
    config.train.ema_decay = 0.999
    config.train.log_every, config.train.save_every = 100, 5_000
    config.train.evaluate_every, config.train.show_every = 5_000, 5_000
    return config
