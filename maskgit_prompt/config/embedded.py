"""What suits the embedded backbone `mini64`; docs/mini.md has the measurements."""

from ml_collections import ConfigDict


def on_mini64(config: ConfigDict) -> ConfigDict:
    """Turns a config of the main job into one of pictures in colour on `mini64`."""
    config.backbone = "mini64"
    config.prompt.deep = True
    config.sample.guidance, config.sample.choice_temperature = 2.0, 9.0
    config.score.judge = "features"
    return config
