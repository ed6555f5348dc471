"""A sentence turned round by a rule for English, Spanish or Chinese: what it means then is not known."""

import re
from collections.abc import Callable, Mapping

AUXILIARIES = "is|are|was|were|am|has been|have been|can|could|would|should|will|does|did|do|must"
EN_AWAY = re.compile(r"\b(is|are|was|were|could|would|should|does|did|do|has|have)(?: not|n['’]t)\b", re.IGNORECASE)
EN_NOT = re.compile(r"\b(?:not|never) (?=[a-z])", re.IGNORECASE)
EN_ADD = re.compile(rf"\b(?:{AUXILIARIES}|(?:it|that|he|she|there)['’]s)\b(?! not\b|n['’]t)", re.IGNORECASE)
ES_AWAY = re.compile(r"\bno (?=(?:es|está|fue|era|son|tiene|puede|hay|me|se|lo|la)\b)", re.IGNORECASE)
ES_ADD = re.compile(r"\b(?=(?:es|está|fue|era|son|eran|fueron|tiene|puede|hay|merece|vale)\b)", re.IGNORECASE)
ZH_AWAY = re.compile(r"不(?!好意思)(?=[是会能要可值好])|没(?=有)")
# Behind these characters, and before those, the verb is part of another word: 但是, 机会, 会议, 可能, 能力, 所有.
ZH_ADD = re.compile(
    r"(?<![不没未但可还還就于於总總只隻要凡或老才正真若倒算而即便硬求])(?=是(?!否|非))"
    r"|(?<![不没未机社大开聚晚宴协学公工国议教约误体领集员事例舞乐动唱览布谈运博省商盛峰])"
    r"(?=会(?![议员计儿话谈面见合场长所馆堂否]))"
    r"|(?<![不没未可性功才只机機智职技本潜核电電热动势节产万无無体效官全异新低难])(?=能(?![力量否源手干人耐]))"
    r"|(?<![不没未还還])(?=可以|值得)"
)
ZH_HAVE = re.compile(r"(?<![没所只还具拥享占含])有(?!些|点|点儿|时|关)")


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
    changed, count = ZH_ADD.subn("不", text, count=1)
    if not count:
        changed, count = ZH_HAVE.subn("没有", text, count=1)
    return changed if count else None


RULES: Mapping[str, Callable[[str], str | None]] = {"en": english, "es": spanish, "zh": chinese}


def negate(text: str, language: str) -> str | None:
    """Turn the first clause that can be turned; None where no rule fits, or none is here for the language."""
    rule = RULES.get(language)
    return rule(text) if rule else None
