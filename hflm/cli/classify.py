"""`hflm classify`."""

from hflm.cli.predict import classify as command

__all__ = ["command"]
