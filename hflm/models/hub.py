"""The model hub and its cache: what is here is taken first, and a hub that does not answer costs seconds."""

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from hflm.errors import ModelError

T = TypeVar("T")
HubState = Literal["reachable", "not reachable", "offline"]


def hub_state(*, timeout: float = 3.0) -> HubState:
    """Try the hub's port for at most `timeout` seconds; "offline" where the user asked for no network.

    Respects HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE, HF_ENDPOINT and the proxies of the environment.
    """
    switches = (os.environ.get(name, "") for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))
    if any(value.upper() in {"1", "ON", "YES", "TRUE"} for value in switches):
        return "offline"
    answered = threading.Event()
    host, port = _address()

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=timeout).close()
        except OSError:
            return
        answered.set()

    # In a thread: looking up a name knows no timeout, and without network can take half a minute.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(timeout)
    return "reachable" if answered.is_set() else "not reachable"


def _address() -> tuple[str, int]:
    """Return host and port to try: the endpoint's, or those of the proxy that stands before it."""
    endpoint = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    proxies = getproxies()
    proxy = proxies.get(endpoint.scheme) or proxies.get("all")
    if proxy and not proxy_bypass(endpoint.hostname or ""):
        endpoint = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    return endpoint.hostname or "", endpoint.port or (443 if endpoint.scheme == "https" else 80)


def from_cache_or_hub(load: Callable[[bool], T], name: str, *, what: str, fix: str) -> T:
    """Return `load(True)`, from local files only, or `load(False)` where these fail and the hub answers.

    `name` is a folder or a hub id. Raises ModelError, in one line.
    """
    try:
        return load(True)
    except Exception as error:
        if Path(name).is_dir():
            raise ModelError(f"{name} cannot be loaded: {_reason(error)}.", fix="Check the folder.") from error
        failure = error
    state = hub_state()
    if state != "reachable":
        why = "HF_HUB_OFFLINE is set" if state == "offline" else "the hub is not reachable"
        raise ModelError(f"No {what} {name!r}: it is not in the cache and {why}.", fix=fix) from failure
    try:
        return load(False)
    except Exception as error:
        raise ModelError(f"No {what} {name!r} on the hub: {_reason(error)}.", fix=fix) from error


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200].rstrip(".: ") if lines else type(error).__name__
