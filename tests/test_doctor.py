"""What the doctor finds, on machines of all kinds."""

import json
import socket
from pathlib import Path

import pytest

from hflm import doctor
from hflm.cli.app import main
from hflm.environment import fast_bf16


def test_every_finding_has_a_value_and_a_meaning() -> None:
    findings = doctor.examine(timeout=0.1)
    names = [finding.name for finding in findings]
    assert names == [
        "python", "torch", "transformers", "accelerate", "device", "bf16", "cores", "threads", "memory", "disk", "hub",
    ]  # fmt: skip
    assert all(finding.value and finding.meaning for finding in findings)


def test_json_and_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    assert {"name", "value", "meaning", "ok"} == set(json.loads(capsys.readouterr().out)[0])
    assert main(["doctor"]) == 0
    assert "meaning" in capsys.readouterr().out.splitlines()[0]


@pytest.mark.parametrize(
    ("flags", "native"),
    [
        ("AuthenticAMD\nflags\t\t: fpu avx2 avx512_bf16", True),
        ("GenuineIntel\nflags\t\t: fpu avx2 avx512_bf16", False),
        ("GenuineIntel\nflags\t\t: fpu amx_bf16 avx512_bf16", True),
        ("AuthenticAMD\nflags\t\t: fpu avx2 avx512f", False),
    ],
)
def test_bf16_where_it_is_the_faster_one(flags: str, native: bool, tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nvendor_id\t: {flags}\n")
    assert fast_bf16(cpuinfo) is native
    assert fast_bf16(tmp_path / "none") is False


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, (8000, 6000)),
        ({"memory.max": "max", "memory.current": "1"}, (8000, 6000)),
        ({"memory.max": str(4000 * 1024), "memory.current": str(1000 * 1024)}, (4000, 3000)),
        ({"memory/memory.limit_in_bytes": "9" * 19, "memory/memory.usage_in_bytes": "1"}, (8000, 6000)),
    ],
    ids=["no cgroup", "no limit", "v2 limit", "v1 no limit"],
)
def test_memory_heeds_the_container(files: dict[str, str], expected: tuple[int, int], tmp_path: Path) -> None:
    proc = tmp_path / "meminfo"
    proc.write_text("MemTotal:  8000 kB\nMemFree:  1 kB\nMemAvailable:  6000 kB\n")
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    total, available = doctor.memory(proc, tmp_path)
    assert (total // 1024, available // 1024) == expected
    assert doctor.memory(tmp_path / "none", tmp_path) == (0, 0)


def test_the_hub_when_told_to_stay_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert doctor._hub(0.1).value == "offline"


def test_the_hub_reachable_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
        assert doctor._hub(1.0).value == "reachable"
    assert doctor._hub(1.0).value == "not reachable"


@pytest.mark.parametrize("name", ["torch", "no-such-package-at-all"])
def test_an_old_or_missing_package_is_not_ok(name: str) -> None:
    finding = doctor._package(name, (99, 0))
    assert not finding.ok
    assert "99.0" in finding.meaning


def test_a_gpu_for_which_torch_was_not_built_is_told() -> None:
    built = ["sm_75", "sm_80", "sm_90", "sm_120", "compute_120"]
    assert [doctor.has_kernels(gpu, built) for gpu in ((7, 0), (7, 5), (8, 9), (12, 0))] == [False, True, True, True]
    assert doctor.has_kernels((7, 0), [])
