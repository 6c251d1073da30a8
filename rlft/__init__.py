"""rlft: post-training methods as data source, reward and algorithm, driven by one gradient coefficient."""

__version__ = "0.1.0"
