"""Two hosts, as far as the network goes: two namespaces with addresses of their own and a cable between them."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hflm.engine.checkpoints import ordered, problem
from tests.faults.harness import ROOT, Zygote, same_run, two

ADDRESSES = ("10.231.7.1", "10.231.7.2")
MEET = f"{ADDRESSES[0]}:29400"
TIMEOUT, WITHIN = 10.0, 20.0


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def hosts() -> Iterator[list[str]]:
    """Two network namespaces, joined by a pair of virtual interfaces."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("network namespaces need root and the command ip")
    names = [f"hflm-{os.getpid()}-{number}" for number in (0, 1)]
    try:
        try:
            for name in names:
                ip("netns", "add", name)
            ip("link", "add", "cable0", "netns", names[0], "type", "veth", "peer", "name", "cable1", "netns", names[1])
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
        for number, name in enumerate(names):
            ip("-n", name, "addr", "add", f"{ADDRESSES[number]}/24", "dev", f"cable{number}")
            ip("-n", name, "link", "set", f"cable{number}", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def started(hosts: list[str], *words: object) -> list[subprocess.Popen[str]]:
    """Start `hflm` on both hosts."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    more = ("--machines", 2, "--rendezvous", MEET, "--machine-rank")
    return [
        subprocess.Popen(
            ["ip", "netns", "exec", host, sys.executable, "-m", "hflm", *map(str, (*words, *more, rank))],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
        )
        for rank, host in enumerate(hosts)
    ]  # fmt: skip


def ended(launchers: list[subprocess.Popen[str]], code: int, *, within: float = 300) -> list[str]:
    said = [launcher.communicate(timeout=within)[0] for launcher in launchers]
    assert [launcher.returncode for launcher in launchers] == [code, code], "\n".join(said)
    return said


@pytest.mark.promise("P2", "R3", "R5")
@pytest.mark.slow
def test_two_hosts(hosts: list[str], zygote: Zygote, text_file: Path, tmp_path: Path) -> None:
    alone, straight, cut = (tmp_path / name for name in ("alone", "straight", "cut"))

    def words(run: Path) -> list[object]:
        found = two(run, text_file, steps=400, every=100, more=("--save-total-limit", 99))
        found[found.index("--rank-timeout") + 1] = f"{TIMEOUT:.0f}s"
        return found

    assert zygote.run(*words(alone)).code == 0
    ended(started(hosts, *words(straight)), 0)
    assert same_run(straight, alone)
    launchers = started(hosts, *words(cut))
    until = time.monotonic() + 200
    while not ordered(cut / "checkpoints") and time.monotonic() < until:
        time.sleep(0.01)
    ip("-n", hosts[0], "link", "set", "cable0", "down")
    begin = time.monotonic()
    said = ended(launchers, 1, within=TIMEOUT + WITHIN)
    assert time.monotonic() - begin < TIMEOUT + WITHIN
    for number, one in enumerate(said):
        last = one.strip().splitlines()[-1]
        assert last.startswith(f"error: Machine {1 - number} went away, or did not answer for 10s."), one
        assert "frame #" not in one
    assert ordered(cut / "checkpoints") and all(problem(path) is None for path in ordered(cut / "checkpoints"))
    assert not (cut / "metrics.json").exists()
    ip("-n", hosts[0], "link", "set", "cable0", "up")
    ended(started(hosts, "resume", cut), 0)
    assert same_run(cut, alone)
