"""English dates, times and years in words."""

from __future__ import annotations

import re

from blazen.speech.numbers import cardinal, ordinal, plural, year

_MONTHS_IN_ORDER = (
    "January February March April May June July August September October November December"
)
_MONTHS = _MONTHS_IN_ORDER.split()
_NAMES = {month[:3].lower(): month for month in _MONTHS}
_MONTH = (
    r"(?P<month>Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?"
    r"|Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\b\.?"
)
_WEEK = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"
_WEEKDAYS = {day[:3]: day for day in _WEEK.split()}
_YEAR = r"(?P<year>1\d{3}|20\d\d)"
_DAY = r"(?P<day>0?[1-9]|[12]\d|3[01])"

_WEEKDAY = re.compile(
    rf"\b(Mon|Tues?|Wed|Thu(?:rs?)?|Fri|Sat|Sun)\b\.?(?=,?\s+(?:{_MONTH}\s*\d|\d))".replace(
        "?P<month>", "?:"
    )
)
_ISO = re.compile(
    r"(?<![\w-])(?P<year>\d{4})-(?P<month>0[1-9]|1[0-2])-(?P<day>0[1-9]|[12]\d|3[01])"
    r"(?:(?P<time>T)(?=\d\d:\d\d)|(?![\w-]))"
)
_SLASHED = re.compile(
    r"(?<![\w/.])(?P<one>\d{1,2})(?P<sign>[/.])(?P<two>\d{1,2})(?P=sign)"
    r"(?P<year>\d{4}|\d{2})(?![\w/]|\.\d)"
)
_ON = re.compile(
    r"\b(?P<on>on|by|until|since|before|after|from|due)\s+(?P<one>\d{1,2})/(?P<two>\d{1,2})(?![\d/])",
    re.IGNORECASE,
)
_MONTH_FIRST = re.compile(
    rf"\b{_MONTH}\s+{_DAY}(?:st|nd|rd|th)?(?!\w|[.,:/]\d)(?P<to>\s?[-–]\s?(?P<last>\d{{1,2}})(?!\w))?"
    rf"(?:,?\s+{_YEAR}(?!\w|[.,:/]\d))?"
)
_DAY_FIRST = re.compile(
    rf"(?<![\w.,:/-])(?P<the>the\s+)?{_DAY}(?:st|nd|rd|th)?(?:\s+of)?\s+{_MONTH}(?!\s+\d{{1,2}}\b)"
    rf"(?:,?\s+{_YEAR}(?!\w|[.,:/]\d))?"
)
_MONTH_YEAR = re.compile(rf"\b{_MONTH},?\s+{_YEAR}(?!\w|[.,:/]\d)")
_SHORT_MONTH = re.compile(r"\b(Jan|Feb|Apr|Aug|Sept?|Oct|Nov|Dec)\.(?=\s+\w)")

_TIME = re.compile(
    r"(?<![\w:.,])(?P<hour>[01]?\d|2[0-4]):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d)(?:\.\d+)?)?"
    r"(?![\d:])(?:\s?(?P<half>[ap]\.?m\b\.?|[AP]\.?M\b\.?))?(?:Z\b)?"
)
_HOUR = re.compile(
    r"(?<![\w:.,$€£])(?P<hour>0?[1-9]|1[0-2])(?:\.(?P<minute>[0-5]\d))?\s?"
    r"(?P<half>[ap]\.m\b\.?|[ap]m\b|[AP]\.M\b\.?|[AP]M\b)"
)
_TO_TIME = re.compile(
    r"(?<![\w.,:/-])(\d{1,2}(?::\d\d)?(?:\s?[ap]\.?m\b\.?)?)\s?[-–—]\s?"
    r"(?=\d{1,2}(?::\d\d(?!\d)|(?::\d\d)?\s?[ap]\.?m\b))",
    re.IGNORECASE,
)
_BARE_HALF = re.compile(r"(?<=\w)\s(?P<half>[ap])\.m\.", re.IGNORECASE)
_DECADE = re.compile(r"(?<![\w.,])(?:(?P<century>1\d|20)(?P<tens>\d0)|['’‘](?P<short>\d0))['’]?s\b")
_AGE = re.compile(
    r"\b((?:the|and|or|his|her|their|my|your|our|early|mid|late)[\s-](?:(?:early|mid|late)[\s-])?)"
    r"([2-9]0)['’]?s\b",
    re.IGNORECASE,
)
_SHORT_YEAR = re.compile(r"(?<![\w'’])['’‘](\d\d)(?![\w'’\"])")
_YEARS = re.compile(
    r"(?<![\w.,$€£-])(?P<first>1\d{3}|20\d\d)\s?[-–—]\s?(?P<last>1\d{3}|20\d\d|\d\d)(?![\w%]|[.,]\d)"
)
_AFTER_WORD = re.compile(
    r"\b(?P<before>(?:in|since|until|till|by|from|before|after|during|around|circa|of|year|years"
    r"|early|mid|late|spring|summer|autumn|fall|winter|christmas|©|copyright)[\s-]\s*)"
    r"(?P<year>1\d{3}|20\d\d)(?!\w|[.,:/]\d|\s?[%°])",
    re.IGNORECASE,
)
_LONE_YEAR = re.compile(
    r"(?<![\w.,:/#$€£+*=^-])(?P<year>1[5-9]\d\d|20\d\d)(?!\w|[.,:/]\d|\s?[%°+*=×÷/^<>])"
    r"(?!\s+(?:of\s+(?:the|them|these)|(?:people|men|women|children|million|billion|or more)\b"
    r"|[a-z]\w*s\b(?<!\bis)(?<!\bwas)(?<!\bhas)))"
)
_ERA = re.compile(r"(?<=\d)\s?(B\.C\.E|B\.C|A\.D|C\.E)\.(?P<end>\s*$)?")


def dates(text: str, british: bool) -> str:
    """Write dates out, the day first for the British where nothing else shows the order."""

    def said(month: int, day: str, years: str | None) -> str:
        name, number = _MONTHS[month - 1], ordinal(day.lstrip("0"))
        if british:
            return f"the {number} of {name}" + _comma_year(years)
        return f"{name} {number}" + _comma_year(years)

    def iso(found: re.Match[str]) -> str:
        time = " at " if found["time"] else ""
        return said(int(found["month"]), found["day"], found["year"]) + time

    def slashed(found: re.Match[str]) -> str:
        one, two = int(found["one"]), int(found["two"])
        day_first = british or found["sign"] == "." or one > 12
        if two > 12:
            day_first = False
        month, day = (two, one) if day_first else (one, two)
        if not (1 <= month <= 12 and 1 <= day <= 31) or len(found["year"]) + len(found["sign"]) < 3:
            return found[0]
        if found["sign"] == "." and len(found["year"]) == 2:
            return found[0]  # a version, more likely
        years = found["year"]
        if len(years) == 2:
            years = ("20" if int(years) < 50 else "19") + years
        return said(month, str(day), years)

    def on(found: re.Match[str]) -> str:
        one, two = int(found["one"]), int(found["two"])
        month, day = (two, one) if (british or one > 12) and two <= 12 else (one, two)
        if not (1 <= month <= 12 and 1 <= day <= 31):
            return found[0]
        return f"{found['on']} {said(month, str(day), None)}"

    def month_first(found: re.Match[str]) -> str:
        the = "the " if british else ""
        words = f"{_name(found['month'])} {the}{ordinal(found['day'].lstrip('0'))}"
        if found["to"]:
            words += f" to {the}{ordinal(found['last'].lstrip('0') or '0')}"
        return words + _comma_year(found["year"])

    def day_first(found: re.Match[str]) -> str:
        day = ordinal(found["day"].lstrip("0"))
        return f"the {day} of {_name(found['month'])}" + _comma_year(found["year"])

    text = _WEEKDAY.sub(lambda found: _WEEKDAYS[found[1][:3]], text)
    text = _ISO.sub(iso, text)
    text = _SLASHED.sub(slashed, text)
    text = _ON.sub(on, text)
    text = _DAY_FIRST.sub(day_first, text)
    text = _MONTH_FIRST.sub(month_first, text)
    text = _MONTH_YEAR.sub(lambda found: f"{_name(found['month'])} {year(found['year'])}", text)
    return _SHORT_MONTH.sub(lambda found: _name(found[1]), text)


def times(text: str) -> str:
    """Write times of the day out."""
    text = _TO_TIME.sub(r"\1 to ", text)
    text = _TIME.sub(_time, text)
    text = _HOUR.sub(_time, text)
    return _BARE_HALF.sub(lambda found: f" {found['half'].upper()}M" + _final(text, found), text)


def years(text: str, british: bool) -> str:
    """Write years and decades out, where it shows that a number is one."""

    def one(digits: str) -> str:
        return year(digits, british=british)

    def decade(found: re.Match[str]) -> str:
        if found["short"]:
            return plural(cardinal(found["short"]))
        return plural(one(found["century"] + found["tens"]))

    def pair(found: re.Match[str]) -> str:
        last = found["last"]
        if len(last) == 2:
            if int(last) <= int(found["first"][2:]):
                return found[0]
            return f"{one(found['first'])} to {cardinal(last)}"
        return f"{one(found['first'])} to {one(last)}"

    text = _ERA.sub(
        lambda found: f" {found[1].replace('.', '')}" + ("." if found["end"] is not None else ""),
        text,
    )
    text = _DECADE.sub(decade, text)
    text = _AGE.sub(lambda found: found[1] + plural(cardinal(found[2])), text)
    text = _YEARS.sub(pair, text)
    text = _AFTER_WORD.sub(lambda found: found["before"] + one(found["year"]), text)
    text = _LONE_YEAR.sub(lambda found: one(found["year"]), text)
    return _SHORT_YEAR.sub(
        lambda found: f"oh {cardinal(found[1][1])}" if found[1] < "10" else cardinal(found[1]), text
    )


def _name(month: str) -> str:
    return _NAMES[month[:3].lower()]


def _comma_year(digits: str | None) -> str:
    return f", {year(digits)}" if digits else ""


def _time(found: re.Match[str]) -> str:
    parts = found.groupdict()
    hour, minute, second = int(parts["hour"]), parts["minute"] or "00", parts.get("second")
    half = (parts["half"] or "").replace(".", "").upper()
    words = cardinal(str(hour))
    if second and second != "00":
        words += f" {_two(minute)} {_two(second)}"
    elif minute != "00":
        words += f" {_two(minute)}"
    elif not half:
        words += " hundred" if hour > 12 else " o'clock" if hour else " hundred"
    if half:
        words += f" {half}"
    return words + (_final(found.string, found) if half else "")


def _two(digits: str) -> str:
    number = cardinal(str(int(digits)))
    return f"oh {number}" if digits.startswith("0") else number


def _final(text: str, found: re.Match[str]) -> str:
    """Give back the stop of "p.m." where it was the sentence's as well."""
    return "." if found[0].endswith(".") and not text[found.end() :].strip("\"'”’)] ") else ""
