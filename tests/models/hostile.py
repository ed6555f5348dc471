"""Model folders that mean harm or are broken: how each is made from a good one, and what is said of it."""

import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

Make = Callable[[Path], None]
# A harmless way to leave a trace: a folder made by whoever runs the code.
TRACE = "ran"


class Payload:
    """Unpickled, it makes a folder."""

    def __init__(self, trace: str) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.mkdir, (self.trace,)


def trace_of(folder: Path) -> Path:
    return folder.parent / TRACE


def bait_of(folder: Path) -> Path:
    """Good weights outside the folder, which nothing may read."""
    return folder.parent / "bait.safetensors"


def edit(name: str, **values: Any) -> Make:
    """A JSON file of the folder, with these values."""

    def make(folder: Path) -> None:
        path = folder / name
        content = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**content, **values}))

    return make


def config(**values: Any) -> Make:
    return edit("config.json", **values)


def content(name: str, data: bytes | str) -> Make:
    """A file with this content."""

    def make(folder: Path) -> None:
        (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())

    return make


def without(*names: str) -> Make:
    def make(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return make


def linked(name: str) -> Make:
    """A file moved out of the folder, and a link to it in its place."""

    def make(folder: Path) -> None:
        outside = folder.parent / f"outside-{name}"
        (folder / name).rename(outside)
        (folder / name).symlink_to(outside)

    return make


def linked_to(name: str, target: str) -> Make:
    def make(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return make


def sharded(weight_map: Any) -> Make:
    """No model.safetensors, but an index; a callable map is asked for the place of the bait."""

    def make(folder: Path) -> None:
        (folder / "model.safetensors").rename(bait_of(folder))
        told = weight_map(folder) if callable(weight_map) else weight_map
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": told}))

    return make


def pickled(name: str, *, keep: bool = False) -> Make:
    """Weights that are a pickle which does something."""

    def make(folder: Path) -> None:
        if not keep:
            (folder / "model.safetensors").unlink()
        (folder / name).write_bytes(pickle.dumps(Payload(str(trace_of(folder)))))

    return make


def own_code(name: str, **values: Any) -> Make:
    """Python files beside the weights, and a configuration that names them."""

    def make(folder: Path) -> None:
        code = f"import os\nos.mkdir({str(trace_of(folder))!r})\n"
        for module in ("modeling_evil", "configuration_evil", "tokenization_evil"):
            (folder / f"{module}.py").write_text(code)
        edit(name, **values)(folder)

    return make


def fifo(name: str) -> Make:
    """A pipe that nobody writes to: whoever opens it waits for ever."""

    def make(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return make


def sparse(name: str, size: int) -> Make:
    """A file that takes no room on the disk and much in memory."""

    def make(folder: Path) -> None:
        with (folder / name).open("wb") as stream:
            stream.truncate(size)

    return make


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def overlapping(folder: Path) -> None:
    """Two tensors on the same bytes."""
    path = folder / "model.safetensors"
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    first, second = [name for name in header if name != "__metadata__"][:2]
    header[first]["data_offsets"] = header[second]["data_offsets"]
    told = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(told)) + told + data[8 + length :])


def hollow(folder: Path) -> None:
    """Without its last layer."""
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    kept = {name: weight for name, weight in load_file(path).items() if ".layers.1." not in name}
    save_file(kept, path, metadata={"format": "pt"})


def normalizer_bomb(folder: Path) -> None:
    """A text that doubles forty times."""
    path = folder / "tokenizer.json"
    told = json.loads(path.read_text())
    double = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
    told["normalizer"] = {"type": "Sequence", "normalizers": [double] * 40}
    path.write_text(json.dumps(told))


def template(text: str) -> Make:
    return content("chat_template.jinja", text)


def both(one: Make, other: Make) -> Make:
    def make(folder: Path) -> None:
        one(folder)
        other(folder)

    return make


def header(data: bytes, length: int | None = None) -> Make:
    return content("model.safetensors", struct.pack("<Q", len(data) if length is None else length) + data)


LOOPS = "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}"
MACROS = "".join(f"{{% macro m{n}() %}}{{{{ m{n + 1}() }}}}{{{{ m{n + 1}() }}}}{{% endmacro %}}" for n in range(40))
GROWTH = "{% set n = namespace(s='x' * 999) %}{% for i in range(40) %}{% set n.s = n.s ~ n.s %}{% endfor %}"
CODE = {"AutoConfig": "configuration_evil.E", "AutoModelForCausalLM": "modeling_evil.E"}
TOKENIZER_CODE = {"AutoTokenizer": ["tokenization_evil.E", None]}
NESTED = "[" * 200_000
TASK = {"generation": {"family": "completion", "columns": {"prompt": "prompt"}}}

# name: (how the folder is made, what the line says)
FOLDERS: dict[str, tuple[Make, str]] = {
    "an index that climbs out": (sharded({"a": "../bait.safetensors"}), "names '../bait.safetensors'"),
    "an index with a root": (sharded(lambda folder: {"a": str(bait_of(folder))}), "no safetensors file of the folder"),
    "an index into a folder below": (sharded({"a": "sub/x.safetensors"}), "no safetensors file of the folder"),
    "an index that names a pickle": (sharded({"a": "pytorch_model.bin"}), "no safetensors file of the folder"),
    "an index that names nothing there": (sharded({"a": "model-1-of-2.safetensors"}), "no safetensors file of the"),
    "an index with a zero": (sharded({"a": "x\0.safetensors"}), "no safetensors file of the folder"),
    "an index with numbers": (sharded({"a": 7}), "names '7'"),
    "an index with a list": (sharded(["a"]), "has no weight_map"),
    "an index that is a list": (both(sharded({}), content("model.safetensors.index.json", "[]")), "holds a list"),
    "weights linked out": (linked("model.safetensors"), "model.safetensors is a link out of the folder"),
    "a configuration linked out": (linked("config.json"), "config.json is a link out"),
    "a tokenizer linked out": (linked("tokenizer.json"), "tokenizer.json is a link out"),
    "a link to itself": (linked_to("merges.txt", "merges.txt"), "cannot be read"),
    "a link to nothing": (linked_to("merges.txt", "nothing"), "cannot be read"),
    "a link to a device": (linked_to("vocab.txt", "/dev/zero"), "a link out of the folder"),
    "a pipe for a tokenizer": (fifo("tokenizer.json"), "tokenizer.json is no plain file"),
    "a pipe for weights": (fifo("model.safetensors"), "model.safetensors is no plain file"),
    "pickled weights": (pickled("pytorch_model.bin"), "only pickled weights.* `hflm models convert"),
    "pickled weights of another name": (pickled("model.pt"), "only pickled weights"),
    "a pickle that says it is safetensors": (pickled("model.safetensors"), "cannot be loaded"),
    "code of its own": (own_code("config.json", model_type="evil", auto_map=CODE), "code of its own, which hflm"),
    "an unknown architecture": (config(model_type="evil"), "names the architecture 'evil', none that transformers"),
    "no architecture": (content("config.json", "{}"), "names no architecture"),
    "a template that loops": (template(LOOPS + "{% endfor %}"), "did not end within"),
    "a template that doubles": (template(MACROS + "{% macro m40() %}{% endmacro %}{{ m0() }}"), "did not end within"),
    "a template of powers": (template("{{ 9 ** 9 ** 9 }}"), "takes powers"),
    "a template that fills memory": (template("{{ 'x'.center(9999999999) }}"), "has the number 9999999999 in it"),
    "a template that multiplies": (template("{% set s = 'x' * 999 %}{{ s * s | length }}"), "multiplies by what"),
    "a template that grows": (template(GROWTH), "or fills the memory"),
    "a template that includes": (template("{% include '/etc/passwd' %}"), "includes other files"),
    "a template that is none": (template("{% for a %}"), "cannot be parsed"),
    "a template out of its sandbox": (
        template("{{ ''.__class__.__mro__[1].__subclasses__() }}"), "refuses the conversation"),
    "a template that raises": (template("{{ raise_exception('no') }}"), "refuses the conversation: no"),
    "a template of a mebibyte": (template("x" * (1 << 21)), "has 2,097,152 characters"),
    "a template that is a number": (
        both(without("chat_template.jinja"), edit("tokenizer_config.json", chat_template=7)), "is a int"),
    "no weights": (without("model.safetensors"), "holds no weights"),
    "no configuration": (without("config.json"), "there is no config.json"),
    "no tokenizer": (without("tokenizer.json"), "cannot be loaded: its vocabulary is missing|cannot be loaded"),
    "a layer too few": (hollow, "lacks weights: model.layers.1"),
    "cut weights": (cut, "cannot be loaded: its header speaks of"),
    "empty weights": (content("model.safetensors", b""), "cannot be loaded"),
    "a header longer than the file": (header(b"{}", 1 << 60), "its header is longer than the file"),
    "a header that is no JSON": (header(b"{nothing}"), "cannot be loaded"),
    "a header that is a list": (header(b"[1, 2]"), "its header is no object"),
    "a header without end": (header(NESTED.encode()), "cannot be loaded"),
    "weights on top of each other": (overlapping, "cannot be loaded"),
    "a configuration that is a list": (content("config.json", "[]"), "holds a list, not an object"),
    "a configuration that is null": (content("config.json", "null"), "holds a NoneType, not an object"),
    "a configuration without end": (content("config.json", NESTED), "config.json is no JSON"),
    "a configuration of no UTF-8": (content("config.json", b"\xff\xfe\x00"), "config.json is no JSON"),
    "a configuration of a gibibyte": (sparse("config.json", 1 << 30), "config.json has 1,024 MiB"),
    "a thousand million layers": (config(num_hidden_layers=10**9), "num_hidden_layers 1000000000, and the weights"),
    "a width of a million": (config(hidden_size=10**6), "hidden_size 1000000"),
    "a vocabulary of a billion": (config(vocab_size=10**12), "vocab_size 1000000000000"),
    "a thousand million labels": (config(num_labels=10**9), "num_labels 1000000000"),
    "an endless feed-forward layer": (config(intermediate_size=10**10), "intermediate_size 10000000000"),
    "a size in words": (config(hidden_size="large"), "cannot be loaded"),
    "a negative size": (config(hidden_size=-32), "cannot be loaded"),
    "architectures of numbers": (config(architectures=[1]), "architectures is no list of names"),
    "labels in a list": (config(id2label=["a"]), "id2label is no object"),
    "a task of wrong types": (
        config(task_specific_params={"generation": {"family": "completion", "max_length": "long"}}), "task_spec"),
    "a temperature of nothing": (
        config(task_specific_params={"sentiment": {"family": "classification", "temperature": 0}}), "task_spec"),
    "weights that lie elsewhere": (
        config(transformers_weights="../bait.safetensors"), "transformers_weights is '../bait"),
    "an adapter of weights elsewhere": (
        edit("adapter_config.json", base_model_name_or_path="/elsewhere", peft_type="LORA"), "holds an adapter"),
    "generation without end": (edit("generation_config.json", max_new_tokens=10**15), "max_new_tokens 1"),
    "a billion beams": (edit("generation_config.json", num_beams=10**9), "num_beams 1000000000"),
    "generation in a list": (content("generation_config.json", "[]"), "holds a list"),
    "a tokenizer without end": (content("tokenizer.json", '{"a":' + NESTED), "tokenizer.json is no JSON"),
    "a tokenizer that is a list": (content("tokenizer.json", "[]"), "holds a list"),
    "a tokenizer that doubles": (normalizer_bomb, "makes texts 1.1e\\+12 times as long"),
    "a tokenizer of a gibibyte": (sparse("tokenizer.json", 1 << 30), "tokenizer.json has 1,024 MiB"),
    "a tokenizer of nothing": (content("tokenizer.json", "{}"), "cannot be loaded"),
    "tokenizer settings in a list": (content("tokenizer_config.json", "[]"), "holds a list"),
    "a tokenizer's own code": (
        own_code("tokenizer_config.json", tokenizer_class="EvilTokenizer", auto_map=TOKENIZER_CODE), ""),
}  # fmt: skip
