"""English titles, abbreviations and Roman numerals in words."""

from __future__ import annotations

import re
from collections.abc import Iterable

from blazen.speech.abbreviations import is_answer
from blazen.speech.numbers import cardinal, ordinal, roman

_TITLES = {
    "Mr": "Mister",
    "Mrs": "Mrs",
    "Ms": "Miz",
    "Dr": "Doctor",
    "Drs": "Doctors",
    "Prof": "Professor",
    "Gen": "General",
    "Col": "Colonel",
    "Maj": "Major",
    "Capt": "Captain",
    "Cpt": "Captain",
    "Lt": "Lieutenant",
    "Sgt": "Sergeant",
    "Cpl": "Corporal",
    "Cmdr": "Commander",
    "Adm": "Admiral",
    "Gov": "Governor",
    "Sen": "Senator",
    "Rep": "Representative",
    "Pres": "President",
    "Rev": "Reverend",
    "Hon": "Honorable",
    "Fr": "Father",
    "St": "Saint",
    "Mt": "Mount",
    "Ft": "Fort",
}
_STREETS = {
    "St": "Street",
    "Dr": "Drive",
    "Ave": "Avenue",
    "Blvd": "Boulevard",
    "Rd": "Road",
    "Ln": "Lane",
    "Hwy": "Highway",
    "Pl": "Place",
    "Sq": "Square",
    "Ct": "Court",
    "Pkwy": "Parkway",
}
_ALWAYS = {
    "etc.": "et cetera",
    "e.g.": "for example",
    "eg.": "for example",
    "i.e.": "that is",
    "ie.": "that is",
    "vs.": "versus",
    "wwi": "World War one",
    "ww1": "World War one",
    "wwii": "World War two",
    "ww2": "World War two",
    "approx.": "approximately",
    "cf.": "compare",
    "et al.": "and others",
    "viz.": "namely",
    "a.k.a.": "also known as",
    "w/o": "without",
    "w/": "with",
    "and/or": "and or",
    "dept.": "department",
    "govt.": "government",
    "incl.": "including",
    "excl.": "excluding",
    "resp.": "respectively",
    "misc.": "miscellaneous",
    "est.": "established",
    "max.": "maximum",
    "min.": "minimum",
    "avg.": "average",
    "ext.": "extension",
    "apt.": "apartment",
    "inc.": "incorporated",
    "ltd.": "limited",
    "corp.": "corporation",
    "bros.": "brothers",
    "co.": "company",
    "jr.": "junior",
    "sr.": "senior",
    "esq.": "esquire",
    "ph.d.": "PhD",
    "c++": "C plus plus",
    "c#": "C sharp",
    "f#": "F sharp",
}
_CAPITAL_ONLY = {
    "inc.",
    "ltd.",
    "corp.",
    "bros.",
    "co.",
    "jr.",
    "sr.",
    "esq.",
    "ph.d.",
    "c++",
    "c#",
    "f#",
}
_NUMBERED = {
    "No": "number",
    "no": "number",
    "Nos": "numbers",
    "nos": "numbers",
    "Nr": "number",
    "Fig": "figure",
    "fig": "figure",
    "Figs": "figures",
    "figs": "figures",
    "Eq": "equation",
    "eq": "equation",
    "Sec": "section",
    "sec": "section",
    "Ch": "chapter",
    "ch": "chapter",
    "Vol": "volume",
    "vol": "volume",
    "Vols": "volumes",
    "vols": "volumes",
    "Art": "article",
    "art": "article",
    "Op": "opus",
    "op": "opus",
    "p": "page",
    "pp": "pages",
    "c": "circa",
    "ca": "circa",
}


def _alternatives(words: Iterable[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


_TITLE = re.compile(
    rf"(?<![\w.])({_alternatives(_TITLES)})"
    r"(?:\.\s*(?=[A-Z])|(?<=Mr|Dr|St|Lt)\s(?=[A-Z][a-z])"
    r"|(?<=Mrs)\s(?=[A-Z][a-z]))"
)
_HONORIFIC = re.compile(r"(?<![\w.])(Mr|Mrs|Ms|Messrs)\.(?=\s+(?:and|or|&)\s)")
_STREET = re.compile(
    rf"(?P<name>(?:\b[A-Z][\w'’]+|\b\d+(?:st|nd|rd|th))\s)(?P<street>{'|'.join(_STREETS)})\b"
    r"(?P<stop>\.)?(?!\s+[A-Z][a-z]|['’]|\w)"
)
_ABBREVIATION = re.compile(
    r"(?<![\w.])(?:" + _alternatives(_ALWAYS) + r")(?![\w+#])",
    re.IGNORECASE,
)
_NUMBERED_WORD = re.compile(
    rf"(?<![\w.])({_alternatives(_NUMBERED)})\.\s*(?=\d|[VX]\b|[IVX]{(2,)}\b)"
)
_LOOK_BACK = 40
_DOTTED = re.compile(r"(?<![\w.])(?:[A-Za-z]\.){2,}(?!\w)")
_INITIAL = re.compile(r"(?<![\w.'’])([A-Z])\.(?=\s+(?:[A-Z]\.\s+)*[A-Z][a-z])")

_RULER_NAMES = (
    "Henry Louis Charles Elizabeth George Edward Richard James William Mary John Paul Pius Benedict"
    " Leo Gregory Innocent Clement Urban Alexander Nicholas Catherine Peter Ivan Philip Felipe"
    " Ferdinand Frederick Friedrich Wilhelm Otto Napoleon Ramses Ramesses Ptolemy Cleopatra Darius"
    " Xerxes Francis Joseph Leopold Gustav Christian Haakon Harald Olav Carl Margaret Margrethe"
    " Malcolm Robert David Kenneth Boniface Sixtus Julius Adrian Celestine Constantine Theodosius"
    " Justinian Basil Michael Umberto Emmanuel Alfonso Carlos Pedro Albert Rainier Thutmose"
    " Amenhotep Seti Mehmed Selim Murad Suleiman Stephen Thomas Edgar Sigismund Maximilian"
    " Rudolf Ludwig"
)
_RULERS = _RULER_NAMES.replace(" ", "|")
_PART_NAMES = (
    "War Part Chapter Volume Act Book Phase Type Class Section Title Article Bowl Fantasy Stage"
    " Level Grade Appendix Figure Table Scene Tier Mark Apollo Rocky Episode"
    " Schedule Division Pentium"
)
_PARTS = _PART_NAMES.replace(" ", "|")
_ROMAN = r"(?P<roman>(?=[XVI])X{0,3}(?:IX|IV|V?I{0,3}))(?!\w|\.\w|['’](?!s\b)\w)"
_RULER = re.compile(
    rf"(?P<before>\b(?:King|Queen|Pope|Emperor|Tsar|Czar|Kaiser|Sultan|Prince|Saint|St\.?)\s)?"
    rf"(?P<name>\b(?!Malcolm\sX\b)(?:{_RULERS})\s(?:[A-Z][a-z]+\s)?){_ROMAN}"
)
_PART = re.compile(rf"(?P<name>\b(?:{_PARTS})\s){_ROMAN}(?!\s+[a-z]+\s+(?:think|am)\b)")
_SEQUEL = re.compile(
    r"(?P<name>\b[A-Z][a-z]{2,}\s)(?P<roman>III?|VII|VIII|IX|XI{1,3})(?!\w|\.\w|['’](?!s\b)\w)"
)
_CENTURY = re.compile(r"\b(?P<roman>X{0,2}(?:IX|IV|V?I{0,3}))(?:th)?(?=\scentur)")
_REIGNS = re.compile(r"['’]s\b|\s+(?:of|died|ruled|reigned|became|abdicated)\b")


def titles(text: str) -> str:
    """Write titles and kinds of streets out: "Dr. Smith of Elm Dr."."""

    def street(found: re.Match[str]) -> str:
        words = found["name"] + _STREETS[found["street"]]
        return words + (_final(found) if found["stop"] else "")

    text = _HONORIFIC.sub(lambda found: _TITLES.get(found[1], "Messrs"), text)
    text = _STREET.sub(street, text)
    return _TITLE.sub(lambda found: f"{_TITLES[found[1]]} ", text)


def abbreviations(text: str) -> str:
    """Write abbreviations out; of letters with stops only the stops go."""

    def said(found: re.Match[str]) -> str:
        word = found[0].lower()
        if word in _CAPITAL_ONLY and not found[0][0].isupper():
            return found[0]
        if word in ("max.", "min.", "est.", "ext.") and _final(found):
            return found[0]
        words = _ALWAYS[word]
        if found[0][0].isupper() and word not in _CAPITAL_ONLY:
            words = words[0].upper() + words[1:]
        elif word in _CAPITAL_ONLY and words[0].islower():
            words = words.capitalize()
        return words + (_final(found) if word.endswith(".") else "")

    def numbered(found: re.Match[str]) -> str:
        before = text[max(found.start() - _LOOK_BACK, 0) : found.start()]
        if found[1] == "no" and is_answer(before, text[found.end() :]):
            return found[0]
        return f"{_NUMBERED[found[1]]} "

    text = _ABBREVIATION.sub(said, text)
    text = _NUMBERED_WORD.sub(numbered, text)
    text = _DOTTED.sub(lambda found: found[0].replace(".", "") + _final(found), text)
    return _INITIAL.sub(r"\1", text)


def numerals(text: str) -> str:
    """Say Roman numerals where a name shows that they are some."""

    def ruler(found: re.Match[str]) -> str:
        after = found.string[found.end() :]
        if found["roman"] == "I" and not found["before"] and not _REIGNS.match(after):
            return found[0]
        return f"{found['before'] or ''}{found['name']}the {ordinal(str(roman(found['roman'])))}"

    def part(found: re.Match[str]) -> str:
        return found["name"] + cardinal(str(roman(found["roman"])))

    text = _RULER.sub(ruler, text)
    text = _PART.sub(part, text)
    text = _SEQUEL.sub(part, text)
    return _CENTURY.sub(
        lambda found: ordinal(str(roman(found["roman"]))) if found["roman"] else found[0], text
    )


def _final(found: re.Match[str]) -> str:
    """Give the stop of an abbreviation back where it ends the sentence too."""
    return "" if found.string[found.end() :].strip("\"'”’)]*_ ") else "."
