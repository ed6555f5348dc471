"""Two machines, each with a launcher: what one machine comes to, and an end for both where one is lost.

Here they are two launchers on the loopback; `test_two_hosts` gives each a network of its own.
"""

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hflm.engine.checkpoints import ordered, problem
from tests.faults.harness import Victim, Zygote, all_gone, same_run, two

WITHIN, TIMEOUT = 10.0, 3.0


@pytest.fixture(scope="module")
def zygotes(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Zygote]]:
    other = Zygote(tmp_path_factory.mktemp("other"))
    yield [zygote, other]
    other.close()


@pytest.fixture
def place() -> str:
    """A free port on the loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def started(zygotes: list[Zygote], words: list[object], place: str, *, each: int = 1) -> list[Victim]:
    """Start the command on both machines."""
    return [
        made.start(*words, "--machines", 2, "--machine-rank", rank, "--rendezvous", place, ranks=each)
        for rank, made in enumerate(zygotes)
    ]


def ranks_of(victims: list[Victim]) -> set[int]:
    for victim in victims:
        assert victim.wait_for(lambda victim=victim: len(victim.ranks()) == 1), victim.said()
    return {pid for victim in victims for pid in victim.ranks()}


@pytest.mark.promise("P1", "R5")
def test_two_machines_come_to_what_one_does(
    zygotes: list[Zygote], pair: Path, text_file: Path, tmp_path: Path, place: str
) -> None:
    run = tmp_path / "run"
    victims = started(zygotes, two(run, text_file, more=("--save-total-limit", 99)), place)
    assert [victim.end() for victim in victims] == [0, 0], "\n".join(victim.said() for victim in victims)
    assert same_run(run, pair)
    for rank, victim in enumerate(victims):
        assert f"processes: 1 on machine {rank} of 2" in victim.said()
    assert "machine_rank: 0" in (run / "config.yaml").read_text() and place not in (run / "config.yaml").read_text()


@pytest.mark.promise("P2", "R3")
def test_one_launcher_is_killed_and_the_run_goes_on(
    zygotes: list[Zygote], pair: Path, text_file: Path, tmp_path: Path, place: str
) -> None:
    run = tmp_path / "run"
    victims = started(zygotes, two(run, text_file, more=("--save-total-limit", 99)), place)
    pids = ranks_of(victims)
    victims[0].wait_for(lambda: victims[0].saved >= 8)
    victims[1].send(signal.SIGKILL)
    assert [victim.end() for victim in victims] == [1, -9]
    assert all_gone(pids, within=WITHIN + TIMEOUT)
    assert victims[0].said().strip().splitlines()[-1].startswith("error: Machine 1 went away"), victims[0].said()
    assert all(problem(path) is None for path in ordered(run / "checkpoints"))
    victims = started(zygotes, ["resume", run], place)
    assert [victim.end() for victim in victims] == [0, 0], "\n".join(victim.said() for victim in victims)
    assert same_run(run, pair)


@pytest.mark.promise("P2")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("kill", "Rank 1 was ended by SIGKILL."), ("raise", "Rank 1 failed: ValueError"),
        ("hang", "Rank 1 did not answer the others for 3s."),
    ],
)  # fmt: skip
def test_both_say_the_first_cause(
    zygotes: list[Zygote], text_file: Path, tmp_path: Path, place: str, kind: str, said: str
) -> None:
    fault = {"rank": 1, "kind": kind, "place": "update", "step": 5, "mark": str(tmp_path / "mark")}
    words = [*two(tmp_path / "run", text_file), "--machines", 2, "--rendezvous", place, "--machine-rank"]
    victims = [made.start(*words, rank, fault=fault, ranks=1) for rank, made in enumerate(zygotes)]
    pids = ranks_of(victims)
    assert [victim.end() for victim in victims] == [1, 1]
    for victim in victims:
        assert victim.said().strip().splitlines()[-1].startswith(f"error: {said}"), victim.said()
        assert victim.said().count("error:") == 1
    assert all_gone(pids, within=1.0)


@pytest.mark.promise("R6")
@pytest.mark.slow
def test_a_signal_to_one_stops_both(zygotes: list[Zygote], text_file: Path, tmp_path: Path, place: str) -> None:
    victims = started(zygotes, two(tmp_path / "run", text_file, steps=4000, every=400), place)
    ranks_of(victims)
    victims[0].wait_for(lambda: victims[0].step >= 3)
    victims[1].send(signal.SIGTERM)
    assert [victim.end() for victim in victims] == [75, 75], "\n".join(victim.said() for victim in victims)


@pytest.mark.promise("R4")
@pytest.mark.slow
def test_other_data_or_settings_on_one_machine_are_refused(
    zygotes: list[Zygote], text_file: Path, tmp_path: Path, place: str
) -> None:
    other = tmp_path / "other.txt"
    other.write_text(text_file.read_text().replace("the", "thy"))
    common = ("--machines", 2, "--rendezvous", place, "--machine-rank")
    for more in ((), ("--seed", 9)):
        words = [two(tmp_path / "run", text_file), two(tmp_path / "run", text_file, more=more)]
        if not more:
            # The same name on each machine's own disk, as far as the launchers can tell.
            words = [["pretrain", "same.txt", *line[2:]] for line in words]
        folders = [tmp_path / "one", tmp_path / "two"]
        for folder, text in zip(folders, (text_file, other), strict=True):
            folder.mkdir(exist_ok=True)
            (folder / "same.txt").write_text(text.read_text())
        victims = [
            made.start(*words[rank], *common, rank, ranks=1, folder=folders[rank]) for rank, made in enumerate(zygotes)
        ]
        assert [victim.end() for victim in victims] == [2, 2], "\n".join(victim.said() for victim in victims)
        wanted = "seed is" if more else "The training text of rank 1"
        assert all(wanted in victim.said() for victim in victims), "\n".join(victim.said() for victim in victims)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--machines", 2), "--machines 2 need a place to meet."),
        (("--machines", 2, "--machine-rank", 2), "--machine-rank 2 of --machines 2."),
        (("--machines", 2, "--rendezvous", "here"), "--rendezvous is 'here'."),
        (("--machines", 2, "--rendezvous", "h:1", "--processes", 3), "--processes 3 do not spread evenly over 2"),
        (("--machines", 2, "--rendezvous", "h:1", "--max-restarts", 3), "--max-restarts is for one machine."),
    ],
)
def test_what_is_refused(
    more: tuple[object, ...], said: str, text_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from hflm.cli.app import main

    words = ["pretrain", text_file, "-o", tmp_path / "run", "--size", "tiny", *more]
    assert main([str(word) for word in words]) == 2
    assert said in capsys.readouterr().err
