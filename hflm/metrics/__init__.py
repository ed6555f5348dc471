"""Metrics that need no network, each with a 95 % interval; `hflm.metrics.registry` finds them by name."""
