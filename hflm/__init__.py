"""hflm: train, fine-tune and use language models."""

from hflm.registration import register_when_imported

# Also in pyproject.toml; a test compares the two.
__version__ = "0.1.0"

register_when_imported()
