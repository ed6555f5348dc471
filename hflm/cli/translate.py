"""`hflm translate`."""

from hflm.cli.predict import translate as command

__all__ = ["command"]
