"""How a model writes, as the generation config says that is saved with it."""

from typing import Any

# What is read only where a token is drawn, and not the likeliest taken.
SAMPLING = ("temperature", "top_k", "top_p", "top_h", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")


def end_tokens(model: Any) -> set[int]:
    """Return the tokens that end a text: none, one or several."""
    found = model.generation_config.eos_token_id
    return {number for number in (found if isinstance(found, list) else [found]) if number is not None}


def also_end(model: Any, token: int | None) -> None:
    """Let a model end with a token too, wherever it is used."""
    ends = end_tokens(model)
    if token is not None and token not in ends:
        model.generation_config.eos_token_id = sorted(ends | {token})


def without_sampling(model: Any) -> None:
    """Take out of a model that draws no token what is of drawing alone.

    Models of the hub have such numbers, and transformers refuses to save them once anything else there is changed.
    """
    told = model.generation_config
    if told.do_sample is True:
        return
    for name in SAMPLING:
        setattr(told, name, None)
    if (told.pad_token_id or 0) < 0:
        told.pad_token_id = None


def with_usual_cache(config: Any) -> None:
    """Undo what the Trainer has written into a configuration: a decoder without its cache would write slowly."""
    usual = getattr(type(config), "use_cache", None)
    if usual is None:
        config.__dict__.pop("use_cache", None)
    else:
        config.use_cache = usual
