"""A hub that does not answer costs seconds, and what is in the cache costs nothing."""

import json
import socket
import threading
import time
from pathlib import Path

import pytest

from hflm.errors import ModelError
from hflm.models import hub
from hflm.models.hub import from_cache_or_hub, hub_state
from hflm.models.load import load_language_model
from hflm.models.tokenizer import load_tokenizer


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No switch and no proxy set; HF_ENDPOINT points to a port that nobody listens at."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://localhost:{free.getsockname()[1]}")
    return monkeypatch


def test_the_port_of_the_endpoint_is_tried(online: pytest.MonkeyPatch) -> None:
    assert hub_state() == "not reachable"
    with socket.create_server(("localhost", 0)) as server:
        online.setenv("HF_ENDPOINT", f"http://localhost:{server.getsockname()[1]}")
        assert hub_state() == "reachable"
        # Behind a proxy the endpoint itself cannot be reached, and need not.
        online.setenv("HF_ENDPOINT", "https://hub.invalid")
        online.setenv("https_proxy", f"http://localhost:{server.getsockname()[1]}")
        assert hub_state() == "reachable"


def test_a_name_that_takes_long_to_look_up(online: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def slow(*_: object, **__: object) -> None:
        release.wait(20)
        raise OSError

    online.setattr(hub.socket, "create_connection", slow)
    begin = time.perf_counter()
    assert hub_state(timeout=0.2) == "not reachable"
    assert time.perf_counter() - begin < 2
    release.set()


@pytest.mark.parametrize("switch", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_the_switch_spares_the_check(online: pytest.MonkeyPatch, switch: str) -> None:
    online.setenv(switch, "1")
    online.setattr(hub.socket, "create_connection", lambda *_, **__: pytest.fail("tried the hub"))
    assert hub_state() == "offline"
    with pytest.raises(ModelError, match="not in the cache and HF_HUB_OFFLINE is set. Name a folder"):
        load_tokenizer("nobody/nothing")


def test_without_network_a_hub_id_fails_fast(online: pytest.MonkeyPatch) -> None:
    begin = time.perf_counter()
    with pytest.raises(ModelError, match="No tokenizer 'nobody/nothing': it is not in the cache and the hub is not"):
        load_tokenizer("nobody/nothing")
    with pytest.raises(ModelError, match="No model 'nobody/nothing': it is not in the cache and the hub is not"):
        load_language_model("nobody/nothing", objective="mlm")
    assert time.perf_counter() - begin < 6


def test_the_hub_is_asked_where_the_cache_has_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "hub_state", lambda: "reachable")
    asked: list[bool] = []

    def load(local: bool) -> str:
        asked.append(local)
        if local:
            raise OSError("not here")
        return "loaded"

    assert from_cache_or_hub(load, "a/b", what="model", fix="None.") == "loaded" and asked == [True, False]
    with pytest.raises(ModelError, match=r"No model 'a/b' on the hub: not found. None\.$"):
        from_cache_or_hub(
            lambda local: 1 / 0 if local else _raise("not found.\nmore"), "a/b", what="model", fix="None."
        )


def _raise(message: str) -> float:
    raise OSError(message)


def test_a_configuration_alone_makes_no_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    with pytest.raises(ModelError, match="cannot be loaded: its vocabulary is missing"):
        load_tokenizer(str(tmp_path))
