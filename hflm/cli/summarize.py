"""`hflm summarize`."""

from hflm.cli.predict import summarize as command

__all__ = ["command"]
