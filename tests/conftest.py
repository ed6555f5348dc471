"""Every test runs offline, without a display, and writes its caches into a folder that goes away."""

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Set on import: huggingface_hub, tokenizers and matplotlib read these once, when they are imported.
_CACHES = tempfile.mkdtemp(prefix="hflm-tests-")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["MPLBACKEND"] = "Agg"
os.environ["HFLM_CACHE"] = str(Path(_CACHES, "hflm"))
os.environ["HF_HOME"] = str(Path(_CACHES, "huggingface"))

LOOPBACK = {"localhost", "127.0.0.1", "::1", "", None}


def pytest_unconfigure() -> None:
    import shutil

    shutil.rmtree(_CACHES, ignore_errors=True)


@pytest.fixture(autouse=True)
def no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Refuse to leave this machine. No OSError: a library would take that for being offline and go on."""
    if request.node.get_closest_marker("network"):
        yield
        return

    def guard(name: str) -> None:
        real = getattr(socket.socket, name)

        def guarded(self: socket.socket, address: Any) -> Any:
            if self.family != getattr(socket, "AF_UNIX", None) and address[0] not in LOOPBACK:
                raise RuntimeError(f"A test tried to reach {address}.")
            return real(self, address)

        monkeypatch.setattr(socket.socket, name, guarded)

    guard("connect")
    guard("connect_ex")
    look_up = socket.getaddrinfo

    def guarded_look_up(host: Any, *rest: Any, **more: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in LOOPBACK and name != socket.gethostname():
            raise RuntimeError(f"A test tried to look up {host}.")
        return look_up(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", guarded_look_up)
    yield
