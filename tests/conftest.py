"""Every test runs offline, without a display, and writes its caches into a folder that goes away."""

import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

# Set on import: huggingface_hub, tokenizers and matplotlib read these once, when they are imported.
_CACHES = tempfile.mkdtemp(prefix="hflm-tests-")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["MPLBACKEND"] = "Agg"
os.environ["HFLM_CACHE"] = str(Path(_CACHES, "hflm"))
os.environ["HF_HOME"] = str(Path(_CACHES, "huggingface"))

LOOPBACK = {"localhost", "127.0.0.1", "::1", "", None}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--promises", metavar="FILE", help="write which promises were kept, and print the table")


def pytest_configure(config: pytest.Config) -> None:
    from tests.promises import Table

    file = config.getoption("--promises")
    config.pluginmanager.register(Table(Path(file) if file else None), "promises")


def pytest_unconfigure() -> None:
    import shutil

    shutil.rmtree(_CACHES, ignore_errors=True)


@pytest.fixture(autouse=True)
def no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Refuse to leave this machine. No OSError: a library would take that for being offline and go on."""
    if request.node.get_closest_marker("network"):
        yield
        return

    def guard(name: str) -> None:
        real = getattr(socket.socket, name)

        def guarded(self: socket.socket, address: Any) -> Any:
            if self.family != getattr(socket, "AF_UNIX", None) and address[0] not in LOOPBACK:
                raise RuntimeError(f"A test tried to reach {address}.")
            return real(self, address)

        monkeypatch.setattr(socket.socket, name, guarded)

    guard("connect")
    guard("connect_ex")
    look_up = socket.getaddrinfo

    def guarded_look_up(host: Any, *rest: Any, **more: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in LOOPBACK and name != socket.gethostname():
            raise RuntimeError(f"A test tried to look up {host}.")
        return look_up(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", guarded_look_up)
    yield


# The smallest model and text that still show everything: a run takes about a second.
TINY: dict[str, Any] = {
    "layers": 2, "width": 64, "heads": 2, "vocab_size": 500, "max_length": 32, "batch_size": 8, "max_steps": 8,
    "logging_steps": 1, "eval_steps": 4, "save_steps": 4, "precision": "fp32",
}  # fmt: skip


@pytest.fixture(scope="session")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 60 kB of a novel."""
    import gzip

    novel = Path(__file__).parents[1] / "hflm" / "corpus" / "emma.txt.gz"
    path = tmp_path_factory.mktemp("text") / "emma.txt"
    path.write_bytes(gzip.decompress(novel.read_bytes())[:60_000].rpartition(b"\n")[0])
    return path


@pytest.fixture(scope="session")
def run_pretrain(text_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function that runs a tiny `hflm pretrain` in this process, with the settings given, and returns its folder."""
    from hflm.config import PretrainConfig
    from hflm.pretrain import pretrain
    from hflm.pretraining import measure
    from hflm.recipe_files import load_task
    from hflm.settings import build

    def run(folder: Path | None = None, *, resume: bool = False, **settings: Any) -> Path:
        folder = folder or tmp_path_factory.mktemp("runs") / "run"
        values = {**load_task("pretraining").defaults, "arch": "bert", **TINY, "data": [str(text_file)], **settings}
        given = {name: value for name, value in values.items() if value is not None}
        config = build(PretrainConfig, given, where="a test")
        with pytest.MonkeyPatch.context() as patch:
            # The speed of the machine, which takes most of a second to measure.
            patch.setattr(measure, "matmul_ceiling", lambda device: 1e11)
            pretrain(config, folder, overwrite=False, resume=resume, watch=lambda kind, content: None)
        return folder

    return run


@pytest.fixture(scope="session")
def finished(run_pretrain: Callable[..., Path]) -> Path:
    """A finished run of BERT, to look at and not to change."""
    return run_pretrain()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """A function from a kind of model, as bert or gpt2, to the folder of the smallest one; not to be changed."""
    from functools import cache

    from tests.tiny import save

    return cache(lambda kind: str(save(kind, tmp_path_factory.mktemp("tiny") / kind)))


@pytest.fixture(scope="session")
def lively(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """A function from a kind of model to a folder; its weights are large, so that other texts get other answers."""
    from functools import cache

    import torch

    from tests.tiny import MAKERS, tokenizer

    def make(kind: str) -> str:
        flavour, build = MAKERS[kind]
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(7)
            model = build(tokenizer(flavour))
            for name, weight in model.named_parameters():
                if weight.dim() > 1 and "shared" not in name:
                    weight.mul_(8)
        folder = str(tmp_path_factory.mktemp("lively") / kind)
        model.save_pretrained(folder)
        tokenizer(flavour).save_pretrained(folder)
        return folder

    return cache(make)


@pytest.fixture(scope="session")
def run_finetune(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function that runs a tiny `hflm finetune` in this process, with the settings given, and returns its folder."""
    from hflm.finetune import finetune
    from hflm.finetune_config import resolve_finetune
    from hflm.recipe_files import load_task

    def run(task: str, *, folder: Path | None = None, resume: bool = False, **settings: Any) -> Path:
        folder = folder or tmp_path_factory.mktemp("runs") / "run"
        usual = {"max_steps": 8, "batch_size": 8, "logging_steps": 1, "eval_steps": 4, "save_steps": 4,
                 "precision": "fp32", "max_source_length": 32, "max_target_length": 16}  # fmt: skip
        recipe = load_task(task)
        config = resolve_finetune(recipe, name=task, file={}, flags={**usual, **settings}, where="a test")
        finetune(config, recipe, folder, overwrite=False, resume=resume, watch=lambda kind, content: None)
        return folder

    return run


@pytest.fixture(scope="module")
def runs_of(
    run_finetune: Callable[..., Path], tiny: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Callable[[str], str]]:
    """A function from a table, task -> (kind of model, its rows), to one from a task to a run of it, made once."""
    from functools import cache

    from tests.tiny import write

    def of(made: Mapping[str, tuple[str, Callable[[], Any]]]) -> Callable[[str], str]:
        folder = tmp_path_factory.mktemp("rows")

        def make(task: str) -> str:
            kind, rows = made[task]
            data = str(write(folder / f"{task}.jsonl", rows()))
            return str(run_finetune(task, model=tiny(kind), data=[data], max_steps=2, eval_steps=2, test_fraction=0.0))

        return cache(make)

    return of


@pytest.fixture(scope="session")
def distill_rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Files of rows: texts with labels, and texts to write."""
    from tests.tiny import moods, pairs, write

    folder = tmp_path_factory.mktemp("rows")
    made = {"moods": moods(60), "pairs": pairs(60)}
    return {name: str(write(folder / f"{name}.jsonl", content)) for name, content in made.items()}


@pytest.fixture(scope="session")
def teachers(
    run_finetune: Callable[..., Path], tiny: Callable[[str], str], distill_rows: dict[str, str], finished: Path
) -> dict[str, str]:
    """A run of each kind to learn from; the classifier knows its task."""
    moods, pairs = [distill_rows["moods"]], [distill_rows["pairs"]]
    return {
        "sentiment": str(
            run_finetune("sentiment", model=tiny("bert"), data=moods, max_steps=30, learning_rate=1e-2, eval_steps=10)
        ),
        "summarization": str(run_finetune("summarization", model=tiny("t5"), data=pairs, max_steps=4)),
        "pretraining": str(finished),
    }


@pytest.fixture(scope="session")
def run_distill(teachers: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function that runs a tiny `hflm distill` in this process, and returns its folder."""
    from hflm.distill import distill
    from hflm.distill_config import resolve_distill
    from hflm.recipe_files import load_task

    usual = {"max_steps": 6, "batch_size": 8, "logging_steps": 1, "eval_steps": 3, "save_steps": 3, "precision": "fp32",
             "max_source_length": 32}  # fmt: skip

    def run(task: str, *, folder: Path | None = None, watch: Any = lambda kind, content: None, **settings: Any) -> Path:
        folder = folder or tmp_path_factory.mktemp("runs") / "run"
        recipe = load_task(task)
        student = {} if "model" in settings else {"student_layers": 1}
        # Raw text has no target.
        written = {} if task == "pretraining" else {"max_target_length": 12}
        flags = {**usual, **written, "teacher": teachers.get(task), **student, **settings}
        config = resolve_distill(recipe, name=task, file={}, flags=flags, where="a test")
        distill(config, recipe, folder, overwrite=False, resume=False, watch=watch)
        return folder

    return run
