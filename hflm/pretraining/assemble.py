"""From settings to what pretraining needs: the data, the model, its family, the split of a batch."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hflm.config import SHAPE, VOCABULARY, PretrainConfig
from hflm.data.hub import looks_like_hub_id
from hflm.data.masking import Masking
from hflm.data.sources import find_sources
from hflm.engine import ranks
from hflm.engine.device import Device, choose_device, use_fast_attention, whole_attention
from hflm.engine.order import Order
from hflm.engine.split import Split, eval_batch, split_batch
from hflm.errors import ModelError, UsageError
from hflm.families.family import Family
from hflm.families.language_model import CausalLM, MaskedLM
from hflm.models.architecture import build_config, build_model, choose_shape, count_parameters
from hflm.models.attention import BIDIRECTIONAL, CAUSAL
from hflm.models.fingerprints import weights_key
from hflm.models.flops import flops_shape, forward_flops, muon_flops
from hflm.models.heads import check_text_alone, load_config, max_positions
from hflm.models.load import load_language_model
from hflm.models.tokenizer import KINDS, continuation_flags, special_flags
from hflm.pretraining.prepare import Prepared, prepare
from hflm.pretraining.report import HELD
from hflm.run import RunFolder
from hflm.settings import flag
from hflm.training.process import prepare_process
from hflm.training.training import Say, Training

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Setup:
    """Everything that training needs, built and checked."""

    config: PretrainConfig
    run: RunFolder
    arch: str
    data: Prepared
    model: "PreTrainedModel"
    family: Family
    device: Device
    split: Split
    inputs: Mapping[str, str]

    @property
    def training(self) -> Training:
        """What the training of it needs."""
        config, data = self.config, self.data
        rows = data.stream or data.rows
        assert rows is not None
        count = None if callable(rows) else len(rows)

        def order(steps: int) -> Order:
            total = steps * config.batch_size
            return Order(count or total, total=total, seed=config.seed, shuffle=count is not None)

        return Training(
            config=config, run=self.run, model=self.model, family=self.family, device=self.device, split=self.split,
            rows=rows, count=count, eval_rows=data.eval_rows, order=order,
            key=data.key, inputs=self.inputs, tokens_per_step=config.batch_size * data.eval_rows.ids.shape[1],
            eval_batch=eval_batch(int(data.eval_rows.ids.shape[1]), gpu=self.device.kind == "cuda"),
        )  # fmt: skip


def set_up(
    config: PretrainConfig, run: RunFolder, *, arch: str, say: Say, resume: bool = False,
    usual: PretrainConfig | None = None,
) -> Setup:  # fmt: skip
    """Prepare the data and build the model; nothing is written into the run folder yet.

    `usual` are the settings of another job than a pretraining where nobody says anything.
    """
    prepare_process(config)
    for line in without_effect(config, usual):
        say(line)
    if config.model:
        _check_one_stack(load_config(config.model), config.model)
    device = choose_device(config.precision)
    loaded = load_language_model(config.model, objective=config.objective) if config.model else None
    if loaded:
        check_text_alone(loaded.config, str(config.model))
    arch = loaded.config.model_type if loaded else arch
    max_length = _length(config, loaded, say=say)
    packs = arch in BIDIRECTIONAL | CAUSAL
    data = prepare(
        config, arch=arch, max_length=max_length, pack=packs, say=say, saved=run.tokenizer if resume else None
    )
    inputs = {**data.inputs, **({"model": weights_key(loaded)} if loaded else {})}
    # Weights are trained in float32, however they were kept: a small step is lost between two numbers of bfloat16.
    model = loaded.float() if loaded else build(config, arch, data, max_length)
    if packs:
        use_fast_attention(model, device, usual=max_length)
    if whole_attention(model, device):
        say(f"attention: whole, not sparse: that of {arch or config.model} does not compute in bf16 on a CPU")
    family = _family(config, data, model)
    split = split_batch(
        config.batch_size, micro_batch=config.micro_batch_size, processes=ranks.world(), max_length=max_length,
        gpu=device.kind == "cuda",
    )  # fmt: skip
    config = replace(config, optimizer=_optimizer(config, model, tokens=config.batch_size * max_length))
    say(f"model: {arch}, {count_parameters(model):,} parameters, {device.kind} {device.precision}")
    say(f"batch: {split}; optimizer: {config.optimizer}")
    model.to(device.kind)  # type: ignore[arg-type]
    return Setup(config, run, arch, data, model, family, device, split, inputs)


def without_effect(config: PretrainConfig, usual: PretrainConfig | None = None) -> list[str]:
    """Say which settings that are not the usual ones do nothing: a model or a tokenizer that is there is as it is."""
    usual = usual or PretrainConfig()
    said = _unread(config, usual)
    if config.eval_fraction != usual.eval_fraction and (config.eval_data or config.streaming):
        held = f"{HELD[config.job]} is evaluated on"
        why = held if config.eval_data else "of a stream the first documents are held out"
        said.append(f"--eval-fraction: without effect, as {why}")
    if config.decay != usual.decay and config.schedule == "linear":
        said.append("--decay: without effect, a linear schedule falls from its warm-up on")
    if config.mlm_probability != usual.mlm_probability and config.objective == "clm":
        said.append("--mlm-probability: without effect, as every next token is predicted")
    names = SHAPE if config.model else VOCABULARY if config.tokenizer and config.tokenizer not in KINDS else ()
    given = [f"--{flag(name)}" for name in names if getattr(config, name) != getattr(usual, name)]
    kept = config.model or config.tokenizer
    return [*said, *([f"{', '.join(given)}: without effect, as {kept} is as it is"] if given else [])]


def _unread(config: PretrainConfig, usual: PretrainConfig) -> list[str]:
    """Say which settings do nothing for files of these kinds: text has no columns, and a row is always a document."""
    column, unit = config.text_column != usual.text_column, config.documents != usual.documents
    # The sample is text.
    kinds: set[str] = set() if config.data else {"text"}
    for paths in (config.data, config.eval_data) if column or unit else ():
        of_hub = len(paths) == 1 and looks_like_hub_id(paths[0])
        kinds |= {"hub"} if of_hub else {source.kind for source in find_sources(paths)}
    said = ["--text-column: without effect, as text files have no columns"] if column and kinds == {"text"} else []
    if unit and "text" not in kinds:
        said.append("--documents: without effect, as a row of a table is a document")
    return said


def _check_one_stack(config: Any, name: str) -> None:
    """Raise ModelError for an encoder-decoder, whose decoder a masked objective would feed with what it is to say."""
    if config.is_encoder_decoder:
        raise ModelError(
            f"{name} is an encoder-decoder ({config.model_type}), and pretraining goes on with encoders and decoders.",
            fix="Train it for a task: `hflm finetune`.",
        )


def _length(config: PretrainConfig, loaded: "PreTrainedModel | None", *, say: Say) -> int:
    if loaded is None:
        return config.max_length
    limit = max_positions(loaded.config)
    if limit < config.max_length:
        say(f"max length: {limit}, not {config.max_length}: {config.model} reads no more")
    return min(config.max_length, limit)


def build(config: PretrainConfig, arch: str, data: Prepared, max_length: int) -> "PreTrainedModel":
    """Build the model that the settings describe, with weights drawn from the seed."""
    shape = choose_shape(size=config.size, layers=config.layers, width=config.width, heads=config.heads)
    built = build_config(
        arch=arch, shape=shape, vocab_size=len(data.tokenizer), max_length=max_length, tokenizer=data.tokenizer,
        dropout=config.dropout,
    )  # fmt: skip
    return build_model(built, objective=config.objective, seed=config.seed)


def _family(config: PretrainConfig, data: Prepared, model: "PreTrainedModel") -> Family:
    if config.objective == "clm":
        return CausalLM()
    if data.tokenizer.mask_token_id is None:
        raise UsageError("The tokenizer has no mask token.", fix="Pass --objective clm, or another --tokenizer.")
    masking = Masking(
        probability=config.mlm_probability,
        mask_id=data.tokenizer.mask_token_id,
        special=special_flags(data.tokenizer),
        continuation=continuation_flags(data.tokenizer) if config.objective == "wwm" else None,
        seed=config.seed,
    )
    family = MaskedLM(masking)
    family.prepare(model)
    return family


def _optimizer(config: PretrainConfig, model: "PreTrainedModel", *, tokens: int) -> str:
    """Choose Muon where its own products, which no smaller batch makes fewer, cost less than the model's."""
    if config.optimizer != "auto":
        return config.optimizer
    if config.strategy != "ddp":
        # Muon needs whole matrices.
        return "adamw"
    share = 1.0 if config.objective == "clm" else config.mlm_probability
    shape = flops_shape(model)
    forward = forward_flops(shape, tokens=tokens, sequence_length=config.max_length, predicted=int(share * tokens))
    return "muon" if muon_flops(model) < 3 * forward else "adamw"
