"""elinvar: train image classifiers that stay put."""

__version__ = "0.1.0"
