"""Several machines, each with a launcher: where they meet, whether all are there, and what each says of its end."""

import json
import os
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any

from hflm.errors import RankError, UsageError
from hflm.launching.ending import End
from hflm.launching.job import Outcome

# Seconds between signs of life; that others have for saying how their ranks ended, and for reading what we said.
BEAT, TELL, LEAVE = 1.0, 5.0, 5.0
DONE = b"done"


@dataclass(frozen=True)
class Machines:
    """How many there are, which one this is, and where they meet: HOST:PORT of machine 0."""

    count: int = 1
    rank: int = 0
    rendezvous: str = ""

    @property
    def others(self) -> list[int]:
        """The numbers of the other machines."""
        return [number for number in range(self.count) if number != self.rank]


class Store:
    """The store of a rendezvous, which is hung up on where machine 0 does not answer for so many seconds.

    torch's own waits for an answer without an end: with the cable pulled nothing arrives, not even a refusal.
    """

    def __init__(self, store: Any, *, port: int, seconds: float) -> None:
        self.store, self.port, self.seconds = store, port, seconds
        self.asked: float | None = None
        threading.Thread(target=self._watch, daemon=True).start()

    def set(self, key: str, value: str | bytes) -> None:
        """Keep a value."""
        with self._asking():
            self.store.set(key, value)

    def get(self, key: str) -> bytes:
        """Return a value, as soon as it is there."""
        with self._asking():
            return bytes(self.store.get(key))

    def add(self, key: str, amount: int) -> int:
        """Add to a number, and return it."""
        with self._asking():
            return int(self.store.add(key, amount))

    def check(self, keys: list[str]) -> bool:
        """Tell whether all of these are there."""
        with self._asking():
            return bool(self.store.check(keys))

    def watch(self) -> None:
        """Reckon from now on that an answer is awaited, whoever asks."""
        self.asked = time.monotonic()

    def rest(self) -> None:
        """Await nothing."""
        self.asked = None

    @contextmanager
    def _asking(self) -> Iterator[None]:
        self.watch()
        try:
            yield
        finally:
            self.rest()

    def _watch(self) -> None:
        while True:
            time.sleep(BEAT / 2)
            asked = self.asked
            if asked is not None and time.monotonic() - asked > self.seconds:
                hang_up(self.port)


def hang_up(port: int) -> None:
    """End every connection of this process to that port of another: who waits there for an answer gets an error."""
    for name in os.listdir("/dev/fd"):
        # The one that lists them is gone by now.
        with suppress(OSError):
            if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                continue
            with socket.socket(fileno=os.dup(int(name))) as connection:
                if connection.family != socket.AF_UNIX and connection.getpeername()[1] == port:
                    connection.shutdown(socket.SHUT_RDWR)


class Meeting:
    """What the launchers tell each other through the store of their rendezvous."""

    def __init__(self, store: Any, machines: Machines, *, timeout: str, seconds: float) -> None:
        self.store = Store(store, port=parse_rendezvous(machines.rendezvous)[1], seconds=seconds)
        self.machines, self.timeout, self.seconds = machines, timeout, seconds
        self.beats, self.next, self.called = 0, 0.0, False
        self.heard: dict[int, tuple[bytes, float]] = {}

    def introduce(self, settings: Mapping[str, Any]) -> None:
        """Say what this machine was asked to do; raises UsageError where another was asked for something else."""
        me = self.machines.rank
        if self.store.add(f"here-{me}", 1) > 1:
            raise UsageError(f"Two machines have --machine-rank {me}.", fix="Number them from 0.")
        self.store.set(f"asked-{me}", json.dumps(settings))
        for other in self.machines.others:
            asked = json.loads(self.store.get(f"asked-{other}"))
            for name in settings.keys() | asked.keys():
                if json.loads(json.dumps(settings.get(name))) != asked.get(name):
                    here, there = settings.get(name), asked.get(name)
                    raise UsageError(
                        f"{name} is {here!r} on machine {me}, and {there!r} on machine {other}.",
                        fix="Give the same command on all, but for --machine-rank.",
                    )

    def beat(self, *, done: bool = False) -> bool:
        """Give a sign of life, and look for those of the others; return whether all of them are done.

        Raises RankError where one has given none for the time-out.
        """
        now = time.monotonic()
        if now < self.next:
            return False
        self.next, self.beats = now + BEAT, self.beats + 1
        self.store.set(f"alive-{self.machines.rank}", DONE if done else str(self.beats))
        for other in self.machines.others:
            key = f"alive-{other}"
            said = self.store.get(key) if self.store.check([key]) else b""
            if said != self.heard.get(other, (None, 0))[0]:
                self.heard[other] = (said, time.monotonic())
            elif said != DONE and now - self.heard[other][1] > self.seconds:
                raise self.lost([other])
        # Another machine has told how its ranks failed, and waits to hear of ours.
        self.called = any(self.store.check([f"ends-{other}"]) for other in self.machines.others)
        return all(self.heard[other][0] == DONE for other in self.machines.others)

    def exchange(self, ends: list[End]) -> list[End]:
        """Tell how the ranks of this machine ended, and return with them how those of the others did."""
        found, missing = list(ends), self.machines.others
        try:
            self.store.set(f"ends-{self.machines.rank}", json.dumps([asdict(end) for end in ends]))
            until = time.monotonic() + TELL
            while missing and time.monotonic() < until:
                for other in [one for one in missing if self.store.check([f"ends-{one}"])]:
                    missing = [one for one in missing if one != other]
                    found += map(read_end, json.loads(self.store.get(f"ends-{other}")))
                time.sleep(0.05)
        except (RuntimeError, ValueError):
            pass  # The machine with the store is among those that are lost.
        failed = [end for end in found if end.failed]
        if missing and all(end.outcome and end.outcome.by_others for end in failed):
            raise self.lost(missing)
        return found

    def finish(self) -> bool:
        """Wait until all are done; the machine with the store until the others have seen it.

        Returns False where another machine tells of a failure: rank 0 has work after the last step.
        """
        while not self.beat(done=True):
            if self.called:
                return False
            time.sleep(0.05)
        self.store.set(f"left-{self.machines.rank}", b"")
        if self.machines.rank == 0:
            wait_for(lambda: bool(self.store.check([f"left-{one}" for one in self.machines.others])), LEAVE)
        return True

    def lost(self, machines: list[int]) -> RankError:
        """Say which machines are lost."""
        names = " and ".join(str(number) for number in machines)
        which = f"Machine {names}" if len(machines) == 1 else f"Machines {names}"
        return RankError(
            f"{which} went away, or did not answer for {self.timeout}.", fix="See what its own launcher says."
        )


def read_end(values: Mapping[str, Any]) -> End:
    """Read the end of a rank as another machine has written it."""
    return End(values["rank"], values["code"], Outcome(**values["outcome"]) if values["outcome"] else None)


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    """Wait until something is so, or so many seconds."""
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)


def parse_rendezvous(text: str) -> tuple[str, int]:
    """Return host and port of HOST:PORT; raises UsageError where it is none."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(f"--rendezvous is {text!r}.", fix="Write the host of machine 0 and a free port: HOST:29400.")
    return host.strip("[]"), int(port)


def own_address(rendezvous: str) -> str:
    """Return the address of this machine on its way to the rendezvous; raises UsageError where there is no way."""
    host, port = parse_rendezvous(rendezvous)
    try:
        family, kind, _, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as way:
            # Nothing is sent: the system only looks up which address it would send from.
            way.connect(target)
            address = str(way.getsockname()[0])
    except OSError as error:
        raise UsageError(
            f"The host {host} cannot be reached: {error.strerror}.", fix="Look at --rendezvous."
        ) from error
    # Debian writes 127.0.1.1 beside a machine's own name, and no other machine finds it there.
    own = address.startswith("127.") and not host.startswith(("localhost", "127."))
    return (_outward() or address) if own else address


def _outward() -> str | None:
    """Return the address that this machine has in its network; None where it has none."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        # An address for documentation, that nobody has: nothing is sent.
        way.connect(("192.0.2.1", 9))
        return str(way.getsockname()[0])
    return None


def interface_of(address: str) -> str | None:
    """Name the interface of this machine that has an IPv4 address; None where that cannot be told."""
    try:
        import fcntl

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            for _, name in socket.if_nameindex():
                try:
                    # linux/sockios.h: SIOCGIFADDR
                    found = fcntl.ioctl(asking.fileno(), 0x8915, struct.pack("256s", name.encode()[:15]))
                except OSError:
                    continue
                if socket.inet_ntoa(found[20:24]) == address:
                    return name
    except (ImportError, OSError):
        pass
    return None
