"""hflm: train, fine-tune and use language models."""

# Also in pyproject.toml; a test compares the two.
__version__ = "0.1.0"
