"""The numbers in the docs are those of the committed results, and the bench measures what it says."""

import datetime
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from bench import __main__ as bench_main
from bench import (
    attention,
    beginnings,
    distilling,
    faithfulness,
    forecast,
    kept,
    levers,
    parts,
    scaling,
    tuning,
)
from bench.kept import RESULTS, folder, measured, title
from hflm.pretraining.forecast import LAW

ROOT = Path(__file__).parents[1]


def test_each_machine_has_its_own_results() -> None:
    names = ["Intel(R) Xeon(R) Processor", "Intel(R) Xeon(R) Processor", "AMD EPYC"]
    machines = [
        {"processor": name, "instructions": instructions, "gpu": None, "cores": 2}
        for name, instructions in zip(names, ["AMX", "AVX512-BF16", ""], strict=True)
    ]
    machines.append({**machines[0], "gpu": "NVIDIA H100 80GB HBM3"})
    assert [title(machine) for machine in machines] == [
        "Intel Xeon, AMX, 2 cores", "Intel Xeon, AVX512-BF16, 2 cores", "AMD EPYC, 2 cores", "NVIDIA H100 80GB HBM3"
    ]  # fmt: skip
    assert [folder(machine).name for machine in machines] == [
        "intel-xeon-amx-2-cores", "intel-xeon-avx512-bf16-2-cores", "amd-epyc-2-cores", "nvidia-h100-80gb-hbm3"
    ]  # fmt: skip
    with pytest.raises(RuntimeError, match="run `python -m bench f2` first"):
        measured(machines[2], "f2")


def test_the_table_of_students_is_that_of_the_results() -> None:
    page = (ROOT / "docs" / "distilling.md").read_text(encoding="utf-8")
    found = json.loads((RESULTS / "distilling.json").read_text(encoding="utf-8"))
    assert page.split(distilling.BEGIN)[1].split(distilling.END)[0] == distilling.table(found)


def test_the_table_of_faithfulness_is_that_of_the_results() -> None:
    page = (ROOT / "docs" / "explaining.md").read_text(encoding="utf-8")
    found = json.loads((RESULTS / "faithfulness.json").read_text(encoding="utf-8"))
    assert page.split(faithfulness.BEGIN)[1].split(faithfulness.END)[0] == faithfulness.table(found)


def test_what_clusters_would_do_is_what_the_script_works_out() -> None:
    page = (ROOT / "docs" / "launching.md").read_text(encoding="utf-8")
    for network in scaling.NETWORKS:
        assert "\n".join(scaling.table(scaling.cluster_of(network))) in page


def test_a_slow_network_hides_less_and_a_single_gpu_sends_nothing() -> None:
    fast, slow = scaling.cluster_of("fast"), scaling.cluster_of("slow")
    for way in (scaling.ddp, scaling.fsdp):
        for model in scaling.MODELS:
            times = [way(model, cluster, gpus=64, tokens=scaling.TOKENS)[0] for cluster in (fast, slow)]
            assert scaling.compute(model, fast, scaling.TOKENS) < times[0] < times[1]
            assert way(model, slow, gpus=1, tokens=scaling.TOKENS)[1] == 0
    held = [scaling.fsdp(scaling.MODELS[1], fast, gpus=gpus, tokens=1)[2] for gpus in scaling.GPUS]
    assert held == sorted(held, reverse=True)


@pytest.mark.parametrize("attend", [attention.eager, attention.fused])
def test_both_attentions_are_the_same_sum(attend: object) -> None:
    assert callable(attend)
    draw = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 4, 8, attention.HEAD, generator=draw) for _ in range(3))
    mask = torch.zeros(2, 1, 8, 8)
    torch.testing.assert_close(
        attend(query, key, value, mask), functional.scaled_dot_product_attention(query, key, value)
    )


def test_the_figures_of_attention_are_those_of_the_results() -> None:
    found = json.loads((RESULTS / "attention.json").read_text(encoding="utf-8"))["rows"]
    times = {row["length"]: row["sdpa_ms"] / row["eager_ms"] for row in found if row["precision"] == "bfloat16"}
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert f"take {times[128]:.1f} times as long at 128 tokens, {times[64]:.1f} times at 64, and less from 256" in page
    assert all(times[length] < 1 for length in times if length >= 256)


def test_the_law_is_that_of_the_fit() -> None:
    found = json.loads((RESULTS / "forecast.json").read_text(encoding="utf-8"))
    assert asdict(LAW) == pytest.approx(found["law"], rel=1e-3)
    assert LAW.error >= max(found["left_out"].values()) - 1e-3
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert page.split(forecast.BEGIN)[1].split(forecast.END)[0] == forecast.table(found)


def test_the_table_of_levers_is_that_of_the_results() -> None:
    found = json.loads((RESULTS / "levers.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert page.split(levers.BEGIN)[1].split(levers.END)[0] == levers.lines(found)
    assert list(found["levers"]) == list(levers.LEVERS) and list(found["further"]) == list(levers.FURTHER)


@pytest.mark.parametrize(("name", "module"), [("beginnings", beginnings), ("parts", parts)])
def test_the_tables_of_one_bench_are_those_of_the_results(name: str, module: Any) -> None:
    found = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert page.split(module.BEGIN)[1].split(module.END)[0] == module.lines(found)


def test_stages_have_the_time_of_the_recipe() -> None:
    costs = {8: 0.6, 16: 1.0, 32: 1.8}
    plan = beginnings.stages((8, 16, 32), costs, steps=300)
    assert [rows for rows, _ in plan] == [8, 16, 32]
    assert sum(costs[rows] * steps for rows, steps in plan) == pytest.approx(300, abs=2)


@pytest.mark.long
def test_growing_batches_are_trained_on(tmp_path: Path) -> None:
    """Each stage has its rows, the learning rate ends near zero, and a loss comes out."""
    words = ("--size", "tiny", "--batch-size", "2", "--max-length", "32")
    side = levers.prepared(words, tmp_path, max_documents=40)
    seen, step = list[int](), side.step

    def counted(count: int | None = None) -> None:
        seen.append(count or 0)
        step(count)

    side.step = counted  # type: ignore[method-assign]
    loss = beginnings.trained(side, [(2, 6), (4, 3)], {2: 1.0, 4: 2.0})
    assert seen == [2] * 6 + [4] * 3 and 0 < loss < 20
    assert all(0 < group["lr"] < 2e-3 for group in side.optimizer.param_groups)


def test_weights_are_drawn_otherwise(tmp_path: Path) -> None:
    side = levers.prepared(("--size", "tiny"), tmp_path)
    model = side.training.model
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    beginnings.redraw(model, beginnings.INITIAL["the last matrix of each block zero"])
    zero = {name for name, weight in model.named_parameters() if not weight.any() and before[name].any()}
    assert len(zero) == 2 * model.config.num_hidden_layers and all(name.endswith(beginnings.LAST) for name in zero)


def test_operations_are_told_apart() -> None:
    names = ["aten::mm", "aten::bmm", "aten::mul", "aten::max", "aten::_to_copy", "aten::addmm", "aten::add_", "Mine"]
    short = [parts.group_of(name).split(":")[0].split(" ")[0] for name in names]
    assert short == ["matrix", "attention", "sums,", "cross-entropy", "copies", "matrix", "sums,", "everything"]


def test_a_lever_counts_only_beyond_what_seeds_do() -> None:
    found = {
        "size": "mini", "steps": 100, "recipe": [5.0, 5.2], "noise": 0.28, "median": {"recipe": 5.1},
        "levers": {
            what: {"eval_loss": loss, "steps": 80, "cost": 1.25}
            for what, loss in {"a little": 5.3, "much": 6.0, "less": 4.0}.items()
        },
        "further": {"longer": {"steps": 700, "eval_loss": 3.2}},
    }  # fmt: skip
    rows = levers.lines(found).splitlines()
    assert rows[1].startswith("| mini |") and "5.100" in rows[3] and "0.280" in rows[3]
    assert [row.split("|")[-2].strip() for row in rows[4:7]] == ["the same", "worse", "better"]
    assert "+0.900" in rows[5] and "-1.100" in rows[6] and "| 1.25 | 80 |" in rows[4]
    assert rows[-1] == "| longer | 700 | 3.200 |"


@pytest.mark.long
def test_a_lever_is_a_run_that_takes_its_steps(tmp_path: Path) -> None:
    """The changed setting is in the run, and its step moves the weights."""
    side = levers.prepared(("--arch", "bert", "--size", "tiny", "--batch-size", "2", "--max-length", "32"), tmp_path)
    model = side.training.model
    before = [weight.clone() for weight in model.parameters()]
    side.step()
    assert model.config.model_type == "bert" and side.training.split.micro_batch == 2 and len(side.times) == 1
    assert not all(torch.equal(one, other) for one, other in zip(before, model.parameters(), strict=True))


def test_rows_with_signs_that_end_a_line_elsewhere_are_read_whole(tmp_path: Path) -> None:
    """JSON leaves U+0085 as it is, and `str.splitlines` takes it for the end of a line."""
    path = tmp_path / "rows.jsonl"
    rows = [{"text": "one\x85two\u2028three", "label": 1}, {"text": "four", "label": 0}]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    seen: list[str] = []

    def tokenizer(texts: list[str], **_: object) -> dict[str, list[list[int]]]:
        seen.extend(texts)
        return {"input_ids": [[1]] * len(texts)}

    assert tuning.Texts(path, tokenizer).labels == [1, 0] and seen == [row["text"] for row in rows]


def test_results_of_the_last_day_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "RESULTS", tmp_path)
    here = {"processor": "AMD EPYC", "instructions": "AVX2", "gpu": None, "cores": 2, "torch": "2.13.0"}
    folder(here).mkdir()

    def write(name: str, days: int, **other: str) -> None:
        day = datetime.date.today() - datetime.timedelta(days=days)
        entry = {"machine": {**here, **other}, "date": day.isoformat()}
        (folder(here) / f"{name}.json").write_text(json.dumps(entry))

    write("f1", 0)
    write("f2", 1)
    write("f3", 2)
    write("f4", 0, torch="2.14.0")
    assert [name for name in ("f1", "f2", "f3", "f4", "f5") if kept.fresh(here, name)] == ["f1", "f2"]


def test_all_targets_go_on_where_they_were_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only what is not there is measured; a name or --again measures whatever is there."""
    took: list[str] = []

    def measure(name: str) -> Callable[[int], dict[str, Any]]:
        def run(rounds: int) -> dict[str, Any]:
            took.append(name)
            return {"median": {"hflm --help": 0.1}}

        return run

    for module in (kept, bench_main):
        monkeypatch.setattr(module, "RESULTS", tmp_path)
    monkeypatch.setattr(bench_main, "TARGETS", {name: measure(name) for name in ("f9", "f3")})
    monkeypatch.setattr(bench_main, "ceilings", lambda: {"fp32": 2.0, "bf16": 1.0})
    for writer in ("write_table", "write_faults"):
        monkeypatch.setattr(bench_main, writer, lambda results, page: None)
    monkeypatch.setattr(bench_main, "lines", lambda found, names: [f"{name}: {name in found}" for name in names])

    def call(*words: str) -> list[str]:
        took.clear()
        monkeypatch.setattr("sys.argv", ["bench", *words])
        with pytest.raises(SystemExit) as ended:
            bench_main.main()
        assert ended.value.code == 0
        return list(took)

    assert call("f9") == ["f9"]
    assert call() == ["f3"]
    said = capsys.readouterr().out
    assert "make bench-f9" in said and said.endswith("f9: True\nf3: True\n")
    assert call() == []
    assert call("f9") == ["f9"] and call("--again") == ["f9", "f3"]
