"""A sentence turned round by a rule for English, Spanish or Chinese: what it means then is not known."""

import re
from collections.abc import Callable, Mapping

AUXILIARIES = "is|are|was|were|am|has been|have been|can|could|would|should|will|does|did|do|must"
EN_AWAY = re.compile(r"\b(is|are|was|were|could|would|should|does|did|do|has|have)(?: not|n['’]t)\b", re.IGNORECASE)
EN_NOT = re.compile(r"\b(?:not|never) (?=[a-z])", re.IGNORECASE)
EN_ADD = re.compile(rf"\b(?:{AUXILIARIES}|(?:it|that|he|she|there)['’]s)\b(?! not\b|n['’]t)", re.IGNORECASE)
ES_AWAY = re.compile(r"\bno (?=(?:es|está|fue|era|son|tiene|puede|hay|me|se|lo|la)\b)", re.IGNORECASE)
ES_ADD = re.compile(r"\b(?=(?:es|está|fue|era|son|eran|fueron|tiene|puede|hay|merece|vale)\b)", re.IGNORECASE)
ZH_AWAY = re.compile(r"不(?=[是会能要可值好])|没(?=有)")
ZH_ADD = re.compile(r"(?<![不没])(?=是(?!否|非)|会|能|可以|值得)")


def english(text: str) -> str | None:
    """Take the first "not" away, or put one behind the first auxiliary."""
    for pattern, new in ((EN_AWAY, r"\1"), (EN_NOT, "")):
        changed, count = pattern.subn(new, text, count=1)
        if count:
            return changed
    changed, count = EN_ADD.subn(lambda found: f"{found[0]} not", text, count=1)
    return changed if count else None


def spanish(text: str) -> str | None:
    """Take the first "no" before a verb away, or put one before the first of some common verbs."""
    changed, count = ES_AWAY.subn("", text, count=1)
    if not count:
        changed, count = ES_ADD.subn("no ", text, count=1)
    return changed if count else None


def chinese(text: str) -> str | None:
    """Take the first 不 or 没 before some common verbs away, or put one there."""
    changed, count = ZH_AWAY.subn("", text, count=1)
    if count:
        return changed
    if re.search(r"(?<!没)有(?!些|点|点儿|时|关)", text) and not ZH_ADD.search(text):
        return re.sub(r"(?<!没)有(?!些|点|点儿|时|关)", "没有", text, count=1)
    changed, count = ZH_ADD.subn("不", text, count=1)
    return changed if count else None


RULES: Mapping[str, Callable[[str], str | None]] = {"en": english, "es": spanish, "zh": chinese}


def negate(text: str, language: str) -> str | None:
    """Turn the first clause that can be turned; None where no rule fits, or none is here for the language."""
    rule = RULES.get(language)
    return rule(text) if rule else None
