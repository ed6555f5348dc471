"""Languages of multilingual translation models: the code that each model has for them, set in every place."""

import difflib
import re
from dataclasses import dataclass
from typing import Any

from hflm.errors import UsageError
from hflm.language_codes import LONG, SHORT

# Models that are told the language to write by a token, and what such tokens look like.
TOLD = {"mbart", "m2m_100", "nllb-moe"}
CODE = re.compile(r"^(?:__)?([a-z]{2,3}(?:_[A-Za-z]{2,4})?)(?:__)?$")
# What a place says of the script that Chinese is written in.
CHINESE = {"CN": "Hans", "SG": "Hans", "HK": "Hant", "MO": "Hant", "TW": "Hant"}
# en, eng, en_XX, en-US, eng_Latn
FORM = re.compile("[A-Za-z]{2,3}(?:[-_](?:[A-Za-z]{2}|[A-Z][a-z]{3}))?")


def language_tokens(tokenizer: Any) -> dict[str, str]:
    """Return the language codes that a tokenizer has tokens for: code -> token."""
    found = {match[1]: token for token in tokenizer.get_added_vocab() if (match := CODE.match(token))}
    return found


@dataclass(frozen=True)
class Opening:
    """The token of the language that is written; `starts`: it starts the decoder, in place of a mark."""

    token: int
    starts: bool


def set_languages(tokenizer: Any, model: Any, *, source: str | None, target: str | None) -> int | None:
    """Tell tokenizer, model and generation which languages are read and written; return the token that opens a target.

    None where the model has no such tokens. Raises UsageError as `find_opening` does.
    """
    opening = find_opening(tokenizer, model.config, source=source, target=target)
    if opening is None:
        return None
    model.config.forced_bos_token_id = None
    if opening.starts:
        model.config.decoder_start_token_id = model.generation_config.decoder_start_token_id = opening.token
    model.generation_config.forced_bos_token_id = None if opening.starts else opening.token
    return opening.token


def find_opening(tokenizer: Any, config: Any, *, source: str | None, target: str | None) -> Opening | None:
    """Tell a tokenizer which languages are read and written; return how a target opens, before weights are loaded.

    None where the model has no such tokens. Raises UsageError where a language must be named, or has no token.
    """
    codes = language_tokens(tokenizer)
    if config.model_type not in TOLD or not codes:
        return None
    if not source or not target:
        raise UsageError(
            f"{config.model_type} must be told its languages.", fix="Pass --source-lang en --target-lang fr."
        )
    wanted = {"source": _code(source, codes), "target": _code(target, codes)}
    for name, code in (("src_lang", wanted["source"]), ("tgt_lang", wanted["target"])):
        if hasattr(tokenizer, name):
            setattr(tokenizer, name, code)
    token = int(tokenizer.convert_tokens_to_ids(codes[wanted["target"]]))
    # The first mBART: the language stands at the end of a target, and starts the decoder.
    return Opening(token, starts=tokenizer(text_target="a")["input_ids"][-1] == token)


def language_mark(tokenizer: Any, *, source: str | None, target: str | None) -> str:
    """Return what stands before a text to tell Marian the language to write, as >>fra<<; "" where it has one alone.

    Raises UsageError where a model is known to read or to write others.
    """
    marks = getattr(tokenizer, "supported_language_codes", None) or []
    own = {"source": getattr(tokenizer, "source_lang", None), "target": getattr(tokenizer, "target_lang", None)}
    for role, wanted in (("source", source), ("target", target)):
        if not wanted:
            continue
        if role == "target" and marks:
            near = [mark for mark in marks if _short(mark.strip("<>")) == _short(wanted)]
            if not near:
                raise UsageError(f"The model has no language {wanted!r}.", fix=f"It has {', '.join(marks[:8])}.")
            near = _in_script(wanted, near)
            # The very one, else the plainest: >>fra<< before >>fr_BE<<.
            exact = f">>{wanted}<<"
            return f"{exact if exact in near else min(near, key=len)} "
        # Of groups, as mul or sla, nothing is known.
        known = own[role]
        if known and {_short(known), _short(wanted)} <= set(LONG) and _short(known) != _short(wanted):
            raise UsageError(
                f"The model's {role} language is {known}, and it cannot be told {wanted}.",
                fix="Leave the languages away, or name another model.",
            )
    return ""


def kept_languages(tokenizer: Any, config: Any) -> tuple[str | None, str | None]:
    """Return the languages that a model keeps: those of an mBART that was trained for one starts its decoder with."""
    start = getattr(config, "decoder_start_token_id", None)
    tokens = {int(tokenizer.convert_tokens_to_ids(token)): code for code, token in language_tokens(tokenizer).items()}
    if config.model_type not in TOLD or start not in tokens:
        return None, None
    return getattr(tokenizer, "src_lang", None), tokens[start]


def start_token(config: Any, opening: Opening | None) -> int | None:
    """Return the token with which a decoder starts to write; None where neither model nor language says so."""
    start = getattr(config, "decoder_start_token_id", None)
    if opening and (opening.starts or start is None):
        return opening.token
    found = config.bos_token_id if start is None else start
    return None if found is None else int(found)


def _short(language: str) -> str:
    """Return en of en, en_XX, en-US and eng_Latn."""
    plain = re.split("[-_]", language.lower())[0]
    return SHORT.get(plain, plain)


def _script(language: str) -> str:
    """Return the script that a code or a mark names, Hant of zho_Hant and of zh-TW; "" where it names none."""
    first, *rest = re.split("[-_]", language.strip("<>"))
    places = CHINESE if _short(first) == "zh" else {}
    named = (part.title() if len(part) == 4 and part.isalpha() else places.get(part.upper(), "") for part in rest)
    return next((script for script in named if script), "")


def _in_script(language: str, near: list[str]) -> list[str]:
    """Keep the codes in the script that a language asks for, or else those that name none.

    Another script is another text: raises UsageError where all are in others.
    """
    script = _script(language)
    kept = [code for code in near if _script(code) == script] or [code for code in near if not _script(code)]
    if near and script and not kept:
        problem = f"The model has no language {language!r} in the script {script}."
        raise UsageError(problem, fix=f"Of this language it has {', '.join(near[:8])}: name that, or another model.")
    return kept if script else near


def _code(language: str, codes: dict[str, str]) -> str:
    if language in codes:
        return language
    near = _in_script(
        language, [code for code in codes if FORM.fullmatch(language) and _short(code) == _short(language)]
    )
    usual = LONG.get(_short(language))
    if usual in near or len(near) == 1:
        return str(usual) if usual in near else near[0]
    guess = difflib.get_close_matches(language, codes, 1)
    hint = f"Did you mean {guess[0]!r}?" if guess else f"It has {', '.join(sorted(codes)[:8])}, ..."
    raise UsageError(f"The model has no language {language!r}.", fix=hint)
