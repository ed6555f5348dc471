"""`hflm runs`, over folders in every state."""

import json
from pathlib import Path

import pytest

from hflm.cli.app import main
from hflm.errors import UsageError
from hflm.run import RunFolder, write_json
from hflm.runs import last_lines, list_runs, without_tables

METRICS = {
    "job": "pretrain",
    "started": "2026-01-02T03:04:05",
    "seconds": 119.6,
    "parameters": 4_800_000,
    "eval_loss": 3.21,
    "data": "3 novels",
}


def make(folder: Path, metrics: object = None) -> RunFolder:
    run = RunFolder.free(folder, overwrite=False)
    run.create()
    run.config.write_text("seed: 1\n")
    if metrics is not None:
        run.metrics.write_text(metrics if isinstance(metrics, str) else json.dumps(metrics))
    return run


def test_runs_of_a_folder_oldest_first(tmp_path: Path) -> None:
    make(tmp_path / "a", {**METRICS, "started": "2026-02-01T00:00:00"})
    make(tmp_path / "b", METRICS)
    (tmp_path / "no-run").mkdir()
    (tmp_path / "file").touch()
    assert [run.path.name for run in list_runs(tmp_path)] == ["b", "a"]
    assert [run.parameters for run in list_runs(tmp_path / "a")] == [4_800_000]


@pytest.mark.parametrize("metrics", [None, "", "{", "[1]", "\x00"])
def test_a_run_without_readable_metrics_is_unfinished(metrics: str | None, tmp_path: Path) -> None:
    make(tmp_path / "a", metrics)
    assert [run.status for run in list_runs(tmp_path)] == ["unfinished"]


@pytest.mark.parametrize("value", [None, "text", True, [1], float("nan"), float("inf")])
def test_a_value_that_is_no_number_is_left_out(value: object, tmp_path: Path) -> None:
    make(tmp_path / "a", {**METRICS, "parameters": value, "eval_loss": value, "seconds": value})
    run = list_runs(tmp_path)[0]
    assert (run.status, run.parameters, run.eval_loss, run.seconds) == ("done", None, None, None)
    assert main(["runs", str(tmp_path)]) == 0


def test_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path / "a", METRICS)
    make(tmp_path / "b")
    assert main(["runs", str(tmp_path)]) == 0
    head, unfinished, done = capsys.readouterr().out.splitlines()
    assert head.split() == ["run", "when", "job", "data", "size", "loss", "time", "status"]
    assert done.split()[1:] == ["2026-01-02", "03:04", "pretrain", "3", "novels", "4.8M", "3.210", "2m00s", "done"]
    assert unfinished.split()[-1] == "unfinished"


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path / "a", METRICS)
    assert main(["runs", "--json", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)[0]["eval_loss"] == 3.21


def test_nothing_to_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["runs"]) == 0
    assert capsys.readouterr().out.startswith("No runs in runs.")
    with pytest.raises(UsageError, match="no folder"):
        list_runs(tmp_path / "none")


def test_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make(tmp_path / "a")
    write_json(run.metrics, METRICS)
    run.log.write_text("".join(f'{{"step": {step}}}\n' for step in range(20)))
    assert main(["runs", "show", str(run.path)]) == 0
    shown = capsys.readouterr().out
    assert "seed: 1" in shown and '"eval_loss": 3.21' in shown
    assert '{"step": 19}' in shown and '{"step": 3}' not in shown
    assert last_lines(tmp_path / "none") == []


def test_show_what_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "show", str(tmp_path)]) == 2
    assert "no run folder" in capsys.readouterr().err


def test_what_has_a_line_for_every_class_is_left_in_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def metrics(classes: int) -> dict[str, object]:
        names = [f"class {number}" for number in range(classes)]
        details = {"confusion": [[0] * classes for _ in names], "per_class": {name: {"f1": 1.0} for name in names}}
        return {**METRICS, "test": {"scores": {"accuracy": 1.0}, "details": details}}

    for classes, lines in ((3, True), (77, False)):
        make(tmp_path / str(classes), metrics(classes))
        assert main(["runs", "show", str(tmp_path / str(classes))]) == 0
        shown = capsys.readouterr().out
        assert ("class 2" in shown) == lines and '"accuracy": 1.0' in shown
        assert lines or ("(77 in the file)" in shown and len(shown.splitlines()) < 40)
    assert without_tables("no JSON") == "no JSON"
