"""Where machines meet: a store that does not answer is hung up on; and what a run goes on with over several."""

import shutil
import socket
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hflm.config import PretrainConfig
from hflm.errors import UsageError
from hflm.launching.agent import SOCKETS, Agent
from hflm.launching.machines import Machines, Store
from hflm.resume import settings_of
from hflm.run import RunFolder


class Silent:
    """The client of a store on a machine that takes connections, and says nothing."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection

    def get(self, key: str) -> bytes:
        self.connection.sendall(key.encode())
        found = self.connection.recv(1)
        if not found:
            raise RuntimeError("the connection has ended")
        return found


def test_a_store_that_does_not_answer_is_hung_up_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("127.0.0.1", 0)) as other:
        port = server.getsockname()[1]
        with (
            socket.create_connection(("127.0.0.1", port)) as client, server.accept()[0] as machine,
            socket.create_connection(other.getsockname()) as bystander, other.accept()[0] as peer,
        ):  # fmt: skip
            client.settimeout(20)
            store = Store(Silent(client), port=port, seconds=0.3)
            machine.sendall(b"1")
            assert store.get("key") == b"1"
            time.sleep(1)
            machine.sendall(b"2")
            assert store.get("key") == b"2", "nothing was awaited in between"
            begin = time.monotonic()
            with pytest.raises(RuntimeError, match="has ended"):
                store.get("key")
            assert time.monotonic() - begin < 10
            peer.sendall(b"3")
            assert bystander.recv(1) == b"3", "a connection to another port is left alone"


@pytest.mark.parametrize(("count", "wanted"), [(1, {"GLOO_SOCKET_IFNAME": "lo"}), (2, {"GLOO_SOCKET_IFNAME": "eth7"})])
def test_the_interface_that_a_user_names_stays_between_machines(
    count: int, wanted: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, interface in (("loopback", "lo"), ("own_address", "10.0.0.1"), ("interface_of", "eth7")):
        monkeypatch.setattr(f"hflm.launching.agent.{name}", lambda *words, found=interface: found)
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "ib0")
    agent = object.__new__(Agent)
    agent._remaining_restarts = 0
    agent.launch = SimpleNamespace(machines=Machines(count, 0, "10.0.0.1:29400"), threads=1)  # type: ignore[assignment]
    spec = SimpleNamespace(local_world_size=1, max_restarts=0, rdzv_handler=SimpleNamespace(use_agent_store=True))
    group: Any = SimpleNamespace(spec=spec, master_addr="10.0.0.1", master_port=1)

    def sockets() -> dict[str, str]:
        worker = SimpleNamespace(global_rank=0, local_rank=0, world_size=count)
        return {name: value for name, value in agent._environment(group, worker).items() if name in SOCKETS}

    assert sockets() == wanted
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "ib0")
    assert sockets() == (wanted if count == 1 else {})
    monkeypatch.delenv("NCCL_SOCKET_IFNAME")
    assert sockets() == (wanted if count == 1 else {"NCCL_SOCKET_IFNAME": "eth7"})


def test_a_run_that_began_with_restarts_goes_on_over_several_machines(finished: Path, tmp_path: Path) -> None:
    run = RunFolder(Path(shutil.copytree(finished, tmp_path / "run")))
    text = run.config.read_text(encoding="utf-8")
    assert "max_restarts: 0\n" in text
    run.config.write_text(text.replace("max_restarts: 0\n", "max_restarts: 3\n"), encoding="utf-8")
    several = {"machines": 2, "machine_rank": 1, "rendezvous": "h:1"}
    found = settings_of(PretrainConfig, run, several)
    assert (found.machines, found.machine_rank, found.max_restarts) == (2, 1, 0)
    for alone in ({}, {"machines": 1}):
        assert settings_of(PretrainConfig, run, alone).max_restarts == 3
    # Asked for with them, it is refused as ever.
    with pytest.raises(UsageError, match="--max-restarts is for one machine"):
        settings_of(PretrainConfig, run, {**several, "max_restarts": 1})
