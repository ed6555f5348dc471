"""The pipelines that transformers 5 took out: summarization, translation, text2text-generation.

import hflm
from transformers import pipeline
pipeline("summarization", model="out/model")("A long text ...")
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, Pipeline

from hflm.errors import DataError, ModelError, UsageError

# Nothing else of hflm is imported up here: this file is loaded while transformers itself is being imported.

# What transformers 4 took, and what says nothing here: texts are batched and cut in one way only.
IDLE = ("batch_size", "num_workers", "truncation", "padding", "return_text", "local_files_only", "use_fast")
# What a model of the hub says of how it wants to write, for a task or in its generation config.
HABITS = ("num_beams", "length_penalty", "early_stopping", "no_repeat_ngram_size", "min_length", "max_length")
# These look at the prompt of a decoder too, and at its padding: such texts are written one by one.
LOOKING_BACK = {"repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "min_length": 0}


class TextToTextPipeline(Pipeline):
    """Texts in, texts out, for encoder-decoders and for decoders that hflm fine-tuned.

    Inputs are sorted by length and batched under a budget of tokens: `batch_size` is taken and changes nothing.
    `max_new_tokens`, `src_lang`, `tgt_lang`, `clean_up_tokenization_spaces` and `long` ("cut", or "split" by
    sentences) may be given when the pipeline is made or called; so may what `generate` takes, as `num_beams`.
    Lengths count what is written: `max_length` and `min_length` do too, with one token for the start.
    """

    recipe: str | None = None
    key = "generated_text"
    _load_tokenizer = True  # type: ignore[assignment]
    _load_processor = _load_image_processor = _load_feature_extractor = False  # type: ignore[assignment]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.model.config.architectures:
            # Only models that were saved once say it.
            self.model.config.architectures = [type(self.model).__name__]
        # A model that cannot do it is refused here; languages may still be named in a call.
        with suppress(UsageError):
            self.trained((None, None), cap=None)

    def __call__(self, inputs: str | Iterable[str], **options: Any) -> list[dict[str, str]]:  # type: ignore[override]
        """Return one answer for each text, in their order.

        Raises DataError for what is no text, UsageError for options that have no meaning here.
        """
        from hflm.long_texts import predict_long
        from hflm.predict import predict_texts

        texts = _texts(inputs)
        given = {name: value for name, value in {**self._forward_params, **options}.items() if value is not None}
        for name in IDLE:
            given.pop(name, None)
        languages = (given.pop("src_lang", None), given.pop("tgt_lang", None))
        long, clean = given.pop("long", "cut"), given.pop("clean_up_tokenization_spaces", False)
        _check(given, long=long)
        given = _new_tokens(given)
        given = {**self._habits(most=given.get("max_new_tokens")), **given}
        trained = self.trained(languages, cap=given.pop("max_new_tokens", None))
        if trained.kind == "completion" and self._looks_back(given):
            given["budget"] = 1
        rows = (predict_long if long == "split" else predict_texts)(trained, texts, **given)
        written, tokenizer = [row["prediction"] for row in rows], trained.family.tokenizer
        return [{self.key: tokenizer.clean_up_tokenization(text) if clean else text} for text in written]

    def trained(self, languages: tuple[str | None, str | None], *, cap: int | None) -> Any:
        """Return the model with its family, as `hflm predict` uses it, writing at most `cap` tokens.

        Raises ModelError where the model cannot do the task, UsageError where languages must be named.
        """
        from hflm.engine.device import Device
        from hflm.inference.trained import ready

        name = str(self.model.name_or_path or type(self.model).__name__)
        try:
            # In the precision of the weights: a text must not hang on who its neighbours in a batch are.
            found = ready(
                name, self.model, self.tokenizer, recipe=self.recipe, languages=languages,
                device=Device(self.model.device.type, "fp32"), max_new_tokens=cap,
            )  # fmt: skip
        except UsageError as error:
            if all(languages):
                raise
            raise UsageError(error.problem, fix='Pass src_lang="en", tgt_lang="fr".') from error
        return self._with_room(found)

    def _with_room(self, trained: Any) -> Any:
        """Give every text the same room to write, however long its neighbours are."""
        from hflm.models.heads import max_positions

        if trained.kind == "seq2seq":
            return trained
        most = max_positions(self.model.config)
        cap = min(trained.max_new_tokens, max(most // 2, 1))
        # The last token that is written is not read any more.
        source = min(trained.family.max_source_length, most + 1 - cap)
        family = trained.family.with_lengths(source=source, target=trained.family.max_target_length)
        return replace(trained, family=family, max_new_tokens=cap)

    def _told(self) -> dict[str, Any]:
        """Return what a model of the hub keeps of this task; nothing where hflm trained the model."""
        saved = getattr(self.model.config, "task_specific_params", None) or {}
        if any(isinstance(one, dict) and "family" in one for one in saved.values()):
            return {"family": True}
        return dict(saved.get(self.task) or saved.get(self.recipe or "") or {})

    def _habits(self, *, most: int | None) -> dict[str, Any]:
        """Return how a model of the hub wants to write; what hflm trained writes as `hflm predict` has it write.

        It wants no more than `most` tokens.
        """
        told = self._told()
        if "family" in told:
            return {}
        usual = self.model.generation_config
        general = {name: getattr(usual, name, None) for name in ("num_beams", "max_length")}
        if usual.max_new_tokens:
            general.pop("max_length")
        found = {**general, **{name: told[name] for name in HABITS if name in told}}
        habits = _new_tokens({name: value for name, value in found.items() if value is not None})
        if most is not None and "min_new_tokens" in habits:
            habits["min_new_tokens"] = min(habits["min_new_tokens"], most)
        return habits

    def _looks_back(self, given: dict[str, Any]) -> bool:
        # Of the hub's own habits a decoder has none that would count what it reads; of those that are given, it has.
        own = given.get("generation_config")
        usual = {"min_length": self.model.generation_config.min_length} if own is None else own.to_dict()
        return any(given.get(name, usual.get(name)) not in (None, idle) for name, idle in LOOKING_BACK.items())

    def _sanitize_parameters(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        return {}, options, {}

    def preprocess(self, input_: Any, **options: Any) -> dict[str, Any]:
        """Keep a text as it is: all work is done on all texts at once."""
        return {"text": input_}

    def _forward(self, input_tensors: dict[str, Any], **options: Any) -> Any:
        return self([input_tensors["text"]], **options)[0]

    def postprocess(self, model_outputs: Any, **options: Any) -> Any:
        """Return an answer as it is."""
        return model_outputs


class SummarizationPipeline(TextToTextPipeline):
    """Texts to summaries: {"summary_text": ...}."""

    recipe, key = "summarization", "summary_text"


class TranslationPipeline(TextToTextPipeline):
    """Texts to translations: {"translation_text": ...}; `translation_en_to_fr` names the languages."""

    recipe, key = "translation", "translation_text"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        source, _, target = str(kwargs.get("task", "")).removeprefix("translation").removeprefix("_").partition("_to_")
        if source and target:
            kwargs = {"src_lang": source, "tgt_lang": target, **kwargs}
        super().__init__(*args, **kwargs)


class TextWriter:
    """Loads what writes text, an encoder-decoder or a decoder, and refuses the rest in one line."""

    @classmethod
    def from_pretrained(cls, name: str, **options: Any) -> Any:
        """Load a model, in float32 unless told otherwise; raises ModelError where it writes no text."""
        import torch

        from hflm.models.heads import family_of

        hub = {key: options[key] for key in ("revision", "token", "cache_dir", "local_files_only") if key in options}
        # Said in so many words: transformers asks on stdin where nothing is said.
        trust = options["trust_remote_code"] = bool(options.get("trust_remote_code"))
        config = AutoConfig.from_pretrained(name, trust_remote_code=trust, **hub)
        kind = family_of("text_to_text", config, name=name)
        factory: Any = AutoModelForSeq2SeqLM if kind == "seq2seq" else AutoModelForCausalLM
        # Narrow floats round differently from one batch to the next.
        if options.get("dtype") in (None, "auto"):
            options["dtype"] = torch.float32
        try:
            model, found = factory.from_pretrained(name, output_loading_info=True, **options)
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".: ")
            raise ModelError(f"{name} cannot be loaded: {reason}.", fix="Name a whole model.") from error
        if found["missing_keys"]:
            missing = sorted(found["missing_keys"])
            more = f" and {len(missing) - 1} more" if missing[1:] else ""
            raise ModelError(f"{name} lacks weights: {missing[0]}{more}.", fix="Name a whole model.")
        return model


def _texts(inputs: Any) -> list[str]:
    if isinstance(inputs, (Mapping, bytes)) or not isinstance(inputs, Iterable):
        raise DataError(f"The input is a {type(inputs).__name__}, not a text.", fix="Give a text, or a list of texts.")
    texts = [inputs] if isinstance(inputs, str) else list(inputs)
    for number, text in enumerate(texts, start=1):
        if not isinstance(text, str):
            raise DataError(f"Input {number} is a {type(text).__name__}, not a text.", fix="Give texts.")
    return texts


def _check(given: dict[str, Any], *, long: Any) -> None:
    if long not in ("cut", "split"):
        raise UsageError(f"long is {long!r}.", fix="Choose 'cut' or 'split'.")
    most = given.get("max_new_tokens")
    if most is not None and most < 1:
        raise UsageError(f"max_new_tokens is {most}.", fix="Give a number from 1 on, or leave it out.")
    if given.pop("return_tensors", False):
        raise UsageError("return_tensors: only texts are returned.", fix="Leave it out.")
    if (given.pop("num_return_sequences", 1) or 1) != 1:
        raise UsageError("num_return_sequences: one answer a text is returned.", fix="Leave it out.")


def _new_tokens(given: dict[str, Any]) -> dict[str, Any]:
    """Say lengths in tokens that are written; those with the prompt would hang on its padding."""
    found = dict(given)
    for end in ("max", "min"):
        whole = found.pop(f"{end}_length", None)
        if whole is not None:
            found.setdefault(f"{end}_new_tokens", max(int(whole) - 1, 1 if end == "max" else 0))
    return found


TASKS = {
    "summarization": SummarizationPipeline,
    "translation": TranslationPipeline,
    "text2text-generation": TextToTextPipeline,
}


def register() -> None:
    """Make `transformers.pipeline` know the three tasks again; a second time changes nothing."""
    from transformers import pipelines

    registry = pipelines.PIPELINE_REGISTRY
    if registry.supported_tasks.get("translation", {}).get("impl") is TranslationPipeline:
        return
    for name, pipeline in TASKS.items():
        models: Any = TextWriter
        registry.register_pipeline(name, pipeline, models, type="text")
        # With this mark, a pipeline that is saved would write itself beside the model, as code not to be trusted.
        del pipeline._registered_impl  # type: ignore[attr-defined]
        # Where these stand, transformers refuses a task before it looks whether anybody registered it.
        getattr(pipelines, "REMOVED_TASKS", {}).pop(name, None)
    known = registry.check_task

    def check_task(task: str) -> Any:
        name, found, options = known("translation" if task.startswith("translation_") else task)
        return (task if name == "translation" else name), found, options

    registry.check_task = check_task  # type: ignore[method-assign]
