"""How many processes are started, and when none are."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from hflm.config import PretrainConfig
from hflm.engine.split import check_share
from hflm.errors import UsageError
from hflm.launch import wants_ranks, with_processes
from hflm.launching.agent import _mark, again
from hflm.launching.job import Job
from hflm.launching.processes import Events, start_python
from hflm.pretrain import pretrain
from hflm.settings import build


def config(**values: Any) -> PretrainConfig:
    return build(PretrainConfig, values, where="a test")


def quiet(kind: str, content: Mapping[str, Any]) -> None:
    """Watch nothing."""


def test_auto_is_one_process_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = with_processes(config(processes="auto"))
    assert found.processes == "1" and not wants_ranks(found)


def test_auto_is_a_process_for_each_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    found = with_processes(config(processes="auto"))
    assert found.processes == "4" and wants_ranks(found)
    with pytest.raises(UsageError, match="--processes is 5, and this machine has 4 GPUs"):
        with_processes(config(processes=5, batch_size=20))


def test_on_mps_one_process_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    for processes in ("1", "auto"):
        assert with_processes(config(processes=processes)).processes == "1"
    with pytest.raises(UsageError, match=r"--processes 2: on mps one process trains\. Leave --processes away"):
        with_processes(config(processes=2))
    with pytest.raises(UsageError, match="Leave --machines away"):
        with_processes(config(machines=2, rendezvous="10.0.0.1:29400"))


def test_layers_that_are_left_out_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranks may leave out other layers: DDP must look for idle weights at each step, and FSDP2 would wait for ever."""
    from types import SimpleNamespace

    from transformers import M2M100Config, M2M100ForConditionalGeneration

    from hflm.engine import ranks
    from hflm.training.arguments import has_idle_weights
    from hflm.training.train import make_trainer

    shape = {"vocab_size": 50, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
             "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}  # fmt: skip
    model = M2M100ForConditionalGeneration(M2M100Config(**shape))
    training: Any = SimpleNamespace(model=model, config=config(strategy="fsdp2", processes=2), steps=1, course=None)
    assert has_idle_weights(training)
    monkeypatch.setattr(ranks, "world", lambda: 2)
    with pytest.raises(UsageError, match=r"m2m_100 leaves out layers by chance \(layerdrop 0\.05\).* --strategy ddp"):
        make_trainer(training, callbacks=[])


@pytest.mark.promise("P1")
def test_another_launcher_is_refused(monkeypatch: pytest.MonkeyPatch, text_file: Path, tmp_path: Path) -> None:
    """As `torchrun` and `accelerate launch` would have it: each process would write the same run."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="Another launcher has started this as one of 2 processes"):
        pretrain(config(data=[str(text_file)]), tmp_path / "run", overwrite=False, resume=False, watch=quiet)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"strategy": "fsdp2"}, "there is one. Pass --processes"),
        ({"strategy": "fsdp2", "processes": 2, "optimizer": "muon"}, "Pass --optimizer adamw"),
        ({"strategy": "fsdp2", "processes": 2, "torch_compile": True}, "--torch-compile does not go with"),
        ({"strategy": "fsdp2", "processes": 2, "precision": "fp16"}, "--precision fp16 does not go with"),
        ({"strategy": "fsdp"}, "fsdp2"),
    ],
)
def test_a_strategy_that_cannot_be_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        config(**values)
    assert said in str(caught.value)


def test_a_strategy_needs_processes_and_deepspeed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="there is one"):
        with_processes(config(processes="auto", strategy="fsdp2"))
    monkeypatch.setattr("hflm.launching.strategy.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="--strategy zero3 needs DeepSpeed, which is not installed"):
        with_processes(config(processes=2, strategy="zero3"))
    assert with_processes(config(processes=2, strategy="fsdp2")).processes == "2"


@pytest.mark.promise("P1")
@pytest.mark.parametrize(("batch", "processes", "fix"), [(16, 3, "15 or 18"), (2, 4, "4 or 8"), (10, 4, "8 or 12")])
def test_the_nearest_batches_are_named(batch: int, processes: int, fix: str) -> None:
    with pytest.raises(UsageError, match=f"--batch-size {batch} cannot be split over {processes} processes") as caught:
        check_share(batch, processes=processes, micro_batch=None)
    assert fix in caught.value.fix
    assert check_share(processes * 2, processes=processes, micro_batch=None) == 2


def test_a_job_is_read_as_it_was_written(tmp_path: Path) -> None:
    job = Job(name="pretrain", settings={"data": ["a\udcff.txt"], "seed": 1}, folder="run", command=("pretrain", "é"))
    job.write(tmp_path)
    found = Job.read(tmp_path)
    assert found.settings == job.settings and tuple(found.command) == job.command and found.like is None


def test_what_is_started_again_goes_on(tmp_path: Path) -> None:
    job = Job(name="pretrain", settings={}, folder=str(tmp_path / "run"))
    assert again(job) == job
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").touch()
    assert again(job).overwrite and not again(job).resume
    (tmp_path / "run" / "plan.json").write_text("{}")
    assert again(job).resume and not again(job).overwrite


def test_what_is_started_again_knows_its_own_run(tmp_path: Path) -> None:
    """A run that is to be replaced stands until then; and a data set of the hub has its revision in the run."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("data: [owner/name@abc]\nseed: 1\nmax_restarts: 1\n")
    (run / "plan.json").write_text("{}")
    settings = {"data": ["owner/name"], "seed": 1, "max_restarts": 3}
    job = Job(name="pretrain", settings=settings, folder=str(run), overwrite=True)
    old = _mark(job)
    assert not again(job, replaced=old).resume and again(job, replaced=old).overwrite
    (run / "plan.json").unlink()
    (run / "plan.json").write_text('{"steps": 4}')
    found = again(job, replaced=old)
    assert found.resume and not found.overwrite
    assert found.settings == {"data": ["owner/name@abc"], "seed": 1, "max_restarts": 3}


def test_events_come_whole_whatever_pieces_they_are_read_in() -> None:
    events = Events()
    os.write(events.writer, b'{"kind": "note", "content": {"text": "o')
    assert events.read(wait=0.01) == []
    os.write(events.writer, b'ne"}}\n{"kind": "log", "content": {}}\n{"ki')
    assert [event["kind"] for event in events.read(wait=0.01)] == ["note", "log"]
    events.close_writer()
    assert events.read(wait=0.01) == []
    events.close()


def test_a_rank_is_given_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two machines with a GPU each: a rank sees one GPU, and is one of two."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr("hflm.launch.in_rank", lambda: True)
    told = config(processes="2")
    assert with_processes(told) is told


def test_a_rank_reads_no_library_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    (tmp_path / "queue.py").write_text("raise SystemExit('read')")
    (tmp_path / "datasets.py").write_text("raise SystemExit('read')")
    monkeypatch.chdir(tmp_path)
    read, write = os.pipe()
    job = tmp_path / "job.json"
    process = start_python(job, tmp_path / "log", write, os.environ)
    process.wait(60)
    os.close(read)
    os.close(write)
    said = (tmp_path / "log").read_text()
    # All libraries were read: what is missing is what a launcher tells.
    assert "HFLM_LAUNCHER" in said and "SystemExit" not in said
