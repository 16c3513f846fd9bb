"""English amounts in words: money, units, fractions, ranges."""

from __future__ import annotations

import re

from blazen.speech.numbers import cardinal, decimal, ordinal, plural

NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?"
_START = r"(?<![\w.,])"

_CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "¥": ("yen", "yen", "sen", "sen"),
    "₹": ("rupee", "rupees", "paisa", "paise"),
    "₩": ("won", "won", "jeon", "jeon"),
    "₽": ("ruble", "rubles", "kopeck", "kopecks"),
    "₺": ("lira", "lira", "kurus", "kurus"),
    "₿": ("bitcoin", "bitcoins", "satoshi", "satoshis"),
}
_CODES = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "INR": "₹", "KRW": "₩", "RUB": "₽"}
_LANDS = {"US": "US ", "C": "Canadian ", "CA": "Canadian ", "A": "Australian ", "AU": "Australian "}
_LANDS |= {"NZ": "New Zealand ", "HK": "Hong Kong ", "": ""}
_SCALES = {
    "k": "thousand",
    "K": "thousand",
    "m": "million",
    "M": "million",
    "mn": "million",
    "b": "billion",
    "B": "billion",
    "bn": "billion",
    "tn": "trillion",
    "T": "trillion",
}
_SCALE = (
    r"(?P<scale>\s?(?:k|K|mn?|M|bn?|B|tn|T)\b"
    r"|\s(?:hundred|thousand|million|billion|trillion)\b)?"
)
_SIGN = "[" + "".join(_CURRENCIES) + "]"
_MONEY = re.compile(
    rf"(?P<minus>(?<!\w)[-−]\s?)?(?<![A-Za-z])(?P<land>US|CA?|AU?|NZ|HK)?(?P<sign>{_SIGN})\s?"
    rf"(?P<number>{NUMBER})(?:\s?[-–]\s?{_SIGN}?(?P<last>{NUMBER}))?{_SCALE}(?![\d])"
    r"(?P<per>\s?/\s?(?:[a-z]+))?"
)
_MONEY_AFTER = re.compile(
    rf"{_START}(?P<number>{NUMBER})(?:\s?[-–]\s?(?P<last>{NUMBER}))?{_SCALE}"
    rf"\s?(?P<sign>[€£¥₹₩₽₺₿]|USD\b|EUR\b|GBP\b|JPY\b|INR\b|KRW\b|RUB\b)"
)
_CODE_FIRST = re.compile(rf"\b(USD|EUR|GBP|JPY|INR|KRW|RUB)\s?(?={NUMBER})")
_CENTS = re.compile(rf"{_START}(?P<number>{NUMBER})\s?¢")
_COMMA_CENTS = re.compile(
    r"(?<=[€£])(\s?\d{1,3}),(\d\d)(?![\d,])|(?<![\w.,])(\d{1,3}),(\d\d)(?=\s?€)"
)
_COMMA_AFTER_POINTS = re.compile(
    r"(?<![\w.,])(\d{1,3}(?:\.\d{3})+),(\d\d)(?=\s?€)|(?<=€)(\s?\d{1,3}(?:\.\d{3})+),(\d\d)(?![\d,])"
)
_NO_WHOLE = re.compile(rf"(?<={_SIGN})(?=\.\d)")
_ARTICLE = re.compile(r"\b(?:an?|one|every|each)\s$", re.IGNORECASE)
_SMALL = {"thousand", "million", "billion", "trillion"}

_PERIODS = {"yr": "year", "mo": "month", "wk": "week", "hr": "hour", "h": "hour", "min": "minute"}
_PERCENT_PER = re.compile(
    r"(?<=\d)(\s?%)\s?/\s?(yr|year|mo|month|wk|week|day|hr|hour|h|min|minute)\b"
)
# "1h 30m", "2m 30s": an m beside hours or seconds is a minute.
_LASTING = re.compile(
    r"(?<![\w.,])(?:(\d+)\s?h\s?(\d+)\s?m(?:\s?(\d+)\s?s)?|(\d+)\s?m\s?(\d+)\s?s)(?!\w)"
)

_UNITS_TABLE = """
km/h kilometer per hour|kilometers per hour; kph kilometer per hour|kilometers per hour
kmh kilometer per hour|kilometers per hour; mph mile per hour|miles per hour
m/s meter per second|meters per second; km kilometer; cm centimeter; mm millimeter; m meter
nm nanometer; µm micrometer; μm micrometer; mi mile; ft foot|feet; yd yard; in inch|inches
km² square kilometer; m² square meter; cm² square centimeter; m³ cubic meter; cm³ cubic centimeter
km2 square kilometer; m2 square meter; m3 cubic meter; ha hectare; sqft square foot|square feet
kg kilogram; g gram; mg milligram; µg microgram; μg microgram; lb pound; lbs pound; oz ounce
l liter; L liter; ml milliliter; mL milliliter; cl centiliter; dl deciliter
ms millisecond; s second; sec second; secs second; min minute; mins minute; h hour; hr hour
hrs hour; µs microsecond; μs microsecond; ns nanosecond
W watt; kW kilowatt; MW megawatt; GW gigawatt; kWh kilowatt hour; Wh watt hour; V volt; kV kilovolt
mV millivolt; mA milliampere; mAh milliampere hour; Hz hertz|hertz; kHz kilohertz|kilohertz
MHz megahertz|megahertz; GHz gigahertz|gigahertz; KB kilobyte; kB kilobyte; MB megabyte; GB gigabyte
TB terabyte; PB petabyte; KiB kibibyte; MiB mebibyte; GiB gibibyte; TiB tebibyte
kbps kilobit per second|kilobits per second; Mbps megabit per second|megabits per second
Gbps gigabit per second|gigabits per second; MB/s megabyte per second|megabytes per second
GB/s gigabyte per second|gigabytes per second; dB decibel
rpm revolution per minute|revolutions per minute
fps frame per second|frames per second; px pixel; kcal kilocalorie; cal calorie; kJ kilojoule
Pa pascal; hPa hectopascal; kPa kilopascal; ppm part per million|parts per million
°C degree Celsius|degrees Celsius; °F degree Fahrenheit|degrees Fahrenheit
℃ degree Celsius|degrees Celsius
℉ degree Fahrenheit|degrees Fahrenheit; ° degree; Ω ohm; % percent|percent; ‰ per mille|per mille
"""


def _units() -> dict[str, tuple[str, str]]:
    table = {}
    for entry in _UNITS_TABLE.replace("\n", ";").split(";"):
        if entry.strip():
            unit, _, names = entry.strip().partition(" ")
            one, _, many = names.partition("|")
            table[unit] = (one, many or plural(one))
    return table


_UNITS = _units()
_UNIT = "|".join(re.escape(unit) for unit in sorted(_UNITS, key=len, reverse=True))
_SPACED_UNIT = "|".join(
    re.escape(unit) for unit in sorted(_UNITS.keys() - {"in"}, key=len, reverse=True)
)
_MEASURE = re.compile(
    rf"(?P<number>(?<![\w.,]){NUMBER})(?P<last>\s?[-–]\s?{NUMBER})?"
    rf"(?:-?(?P<close>{_UNIT})|\s(?P<apart>{_SPACED_UNIT}))(?![\w²³]|/\w|\.\w|'\w)"
)
_FEET = re.compile(r"(?<![\w.,'])(\d{1,2})\s?['′’]\s?(\d{1,2})\s?(?:[\"″”]|''|’’)")
_LONE_FEET = re.compile(r"(?<![\w.,'‘])(\d+)(′|″)")
# Of "747s" and "10s of thousands" there are many; "30s" lasts so long.
_MANY = re.compile(r"(?<![\w.,])(\d{3,}(?=s\b)|\d+(?=s\sof\b))s")
_BY = re.compile(rf"(?<=\d)(?:\s?×\s?(?={NUMBER}\s?(?:{_UNIT})\b)|x(?={NUMBER})|\sx\s(?={NUMBER}))")

_VULGAR_SIGNS = "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞⅐⅑⅒"
_VULGAR_PARTS = "1/2 1/3 2/3 1/4 3/4 1/5 2/5 3/5 4/5 1/6 5/6 1/8 3/8 5/8 7/8 1/7 1/9 1/10"
_VULGAR = dict(zip(_VULGAR_SIGNS, _VULGAR_PARTS.split(), strict=True))
_VULGAR_SIGN = re.compile(
    rf"(?<=\d)\s?(?P<after>[{''.join(_VULGAR)}])|(?P<alone>[{''.join(_VULGAR)}])"
)
_FRACTION = re.compile(
    r"(?<![\w./,])(?:(?P<whole>\d+)\s(?:and\s)?)?(?P<top>\d{1,3})[/⁄](?P<bottom>\d{1,4})(?![\w/]|[.,]\d)"
)
_RATED = re.compile(r"(?<![\w./,])(\d+\.\d+)/(\d+)(?![\w/]|[.,]\d)")
_DENOMINATORS = {2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 16, 20, 32, 50, 64, 100, 1000}

_RATIO = re.compile(r"(?<![\w.,:])(\d{1,3}):(\d{1,3})(?![\w:]|[.,]\d)")
_RANGE = re.compile(
    rf"(?<![\w.,/-])(?P<one>{NUMBER})\s?[-–—]\s?(?P<two>{NUMBER})(?!\w|[-/]\d|\.\d)"
)
_SPECIAL = re.compile(r"(?<![\w/.])(24/7|9/11|50[/-]50|20/20)(?![\w/])")
_SPECIALS = {
    "24/7": "twenty-four seven",
    "9/11": "nine eleven",
    "50/50": "fifty-fifty",
    "50-50": "fifty-fifty",
    "20/20": "twenty-twenty",
}


def money(text: str, british: bool) -> str:
    """Write sums of money out."""

    def said(found: re.Match[str]) -> str:
        parts = found.groupdict()
        sign = _CODES.get(parts["sign"], parts["sign"])
        one, many, cent, cents = _CURRENCIES[sign]
        land = _LANDS[parts.get("land") or ""]
        number, last = parts["number"].replace(",", ""), parts["last"]
        single = bool(_ARTICLE.search(text[: found.start()][-8:])) and bool(
            re.match(r"[\s-][a-z]", text[found.end() :])
        )
        start = "minus " if parts.get("minus") else ""
        per = f" per {_period(parts['per'].strip(' /'))}" if parts.get("per") else ""
        scale = (parts["scale"] or "").strip()
        scale = _SCALES.get(scale, scale)
        if scale or last:
            words = amount(number, british)
            if last:
                words += f" to {amount(last.replace(',', ''), british)}"
            words += f" {scale}" if scale else ""
            return f"{start}{words} {land}{one if single else many}{per}"
        whole, _, fraction = number.partition(".")
        if fraction and len(fraction) != 2:
            return f"{start}{decimal(whole, fraction, british=british)} {land}{many}{per}"
        parts_said = []
        if int(whole) or not int(fraction or 0):
            name = one if whole == "1" or (single and not int(fraction or 0)) else many
            parts_said.append(f"{cardinal(whole, british=british)} {land}{name}")
        if int(fraction or 0):
            parts_said.append(
                f"{cardinal(str(int(fraction)))} {cent if fraction == '01' else cents}"
            )
        return start + " and ".join(parts_said) + per

    text = _COMMA_AFTER_POINTS.sub(
        lambda found: found[0].replace(".", "").replace(",", "."), _NO_WHOLE.sub("0", text)
    )
    text = _COMMA_CENTS.sub(lambda found: found[0].replace(",", "."), text)
    text = _CODE_FIRST.sub(lambda found: _CODES[found[1]], text)
    text = _MONEY.sub(said, text)
    text = _MONEY_AFTER.sub(said, text)
    return _CENTS.sub(
        lambda found: (
            f"{amount(found['number'], british)} cent{'' if found['number'] == '1' else 's'}"
        ),
        text,
    )


def measures(text: str, british: bool) -> str:
    """Write numbers with their units out."""

    def said(found: re.Match[str]) -> str:
        one, many = _UNITS[found["close"] or found["apart"]]
        number = found["number"].replace(",", "")
        words = amount(number, british)
        if found["last"]:
            words += f" to {amount(found['last'].strip(' -–').replace(',', ''), british)}"
        before, after = text[: found.start()][-8:], text[found.end() :]
        single = _ARTICLE.search(before) and re.match(r"[\s-][a-z]", after)
        name = one if (number == "1" and not found["last"]) or single else many
        return f"{words} {_spelling(name, british)}"

    text = _PERCENT_PER.sub(lambda found: f"{found[1]} per {_period(found[2])}", text)
    text = _LASTING.sub(_lasting, text)
    text = _FEET.sub(lambda found: f"{cardinal(found[1])} foot {cardinal(found[2])}", text)
    text = _LONE_FEET.sub(
        lambda found: f"{cardinal(found[1])} {'feet' if found[2] == '′' else 'inches'}", text
    )
    text = _MANY.sub(lambda found: plural(cardinal(found[1], british=british)), text)
    text = _BY.sub(" by ", text)
    return _MEASURE.sub(said, text)


def fractions(text: str, british: bool) -> str:
    """Write fractions out, and the few that are names."""

    def said(found: re.Match[str]) -> str:
        top, bottom = int(found["top"]), int(found["bottom"])
        usual = bottom in _DENOMINATORS and (top < bottom or bottom <= 10)
        if not usual or top == 0 or found["top"].startswith("0") or found["bottom"].startswith("0"):
            return f"{found['whole'] or ''} {found['top']} over {found['bottom']}".lstrip()
        names = {2: ("half", "halves"), 4: ("quarter", "quarters")}
        name = ordinal(found["bottom"])
        one, many = names.get(bottom, (name, plural(name)))
        if found["whole"]:
            whole = f"{cardinal(found['whole'], british=british)} and "
            return f"{whole}a {one}" if top == 1 else f"{whole}{cardinal(found['top'])} {many}"
        return f"{cardinal(found['top'])} {one if top == 1 else many}"

    text = _RATED.sub(r"\1 out of \2", text)
    text = _SPECIAL.sub(lambda found: _SPECIALS[found[1]], text)
    text = _VULGAR_SIGN.sub(
        lambda found: f" {_VULGAR[found['after']]}" if found["after"] else _VULGAR[found["alone"]],
        text,
    )
    return _FRACTION.sub(said, text)


def ranges(text: str) -> str:
    """Say what stands between two numbers: a range, or a ratio."""
    text = _RANGE.sub(lambda found: f"{found['one']} to {found['two']}", text)
    return _RATIO.sub(r"\1 to \2", text)


def amount(number: str, british: bool) -> str:
    """Say a number with or without a point."""
    whole, point, fraction = number.replace(",", "").partition(".")
    if point:
        return decimal(whole, fraction, british=british)
    return cardinal(whole, british=british)


def _lasting(found: re.Match[str]) -> str:
    hours, minutes, seconds = found[1], found[2] or found[4], found[3] or found[5]
    named = ((hours, "h"), (minutes, "min"), (seconds, "s"))
    return " ".join(f"{number} {unit}" for number, unit in named if number)


def _period(unit: str) -> str:
    return _PERIODS.get(unit, unit)


def _spelling(name: str, british: bool) -> str:
    if not british:
        return name
    return re.sub(r"(?<!para)meter(s?)\b", r"metre\1", re.sub(r"liter", "litre", name))
