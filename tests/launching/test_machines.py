"""Where machines meet: a store that does not answer is hung up on."""

import socket
import time

import pytest

from hflm.launching.machines import Store


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
