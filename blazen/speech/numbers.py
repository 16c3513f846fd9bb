"""English numbers in words."""

from __future__ import annotations

_ONES_IN_ORDER = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen"
)
_TENS_IN_ORDER = "- - twenty thirty forty fifty sixty seventy eighty ninety"
_SCALES_IN_ORDER = (
    "- thousand million billion trillion quadrillion quintillion sextillion septillion octillion"
    " nonillion decillion"
)
_ONES = _ONES_IN_ORDER.split()
_TENS = _TENS_IN_ORDER.split()
_SCALES = _SCALES_IN_ORDER.split()
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_LONGEST = 3 * len(_SCALES)


def cardinal(digits: str, *, british: bool = False) -> str:
    """Say a whole number; one too long to be said so, or with a zero before it, digit by digit."""
    if len(digits) > _LONGEST or (len(digits) > 1 and digits.startswith("0")):
        return spelled(digits)
    number = int(digits)
    if number == 0:
        return "zero"
    groups = []
    for scale in _SCALES:
        number, group = divmod(number, 1000)
        if group:
            words = _below_thousand(group, british)
            groups.append(words if scale == "-" else f"{words} {scale}")
    # "one thousand and five", as the British say it
    if british and len(groups) > 1 and 0 < int(digits) % 1000 < 100:
        groups[0] = f"and {groups[0]}"
    return " ".join(reversed(groups))


def ordinal(digits: str, *, british: bool = False) -> str:
    """Say a whole number as a place in a row: "twenty-first"."""
    words = cardinal(digits, british=british)
    place = max(words.rfind(" "), words.rfind("-")) + 1
    last = words[place:]
    if last in _ORDINALS:
        last = _ORDINALS[last]
    elif last.endswith("y"):
        last = last[:-1] + "ieth"
    else:
        last += "th"
    return words[:place] + last


def year(digits: str, *, british: bool = False) -> str:
    """Say a year: "nineteen ninety-nine", "two thousand five", "twenty twenty-six"."""
    number = int(digits)
    century, rest = divmod(number, 100)
    if not 1000 <= number <= 9999 or (century % 10 == 0 and rest < 10):
        return cardinal(digits, british=british)
    first = _below_thousand(century, british)
    if rest == 0:
        return f"{first} hundred"
    return f"{first} oh {_ONES[rest]}" if rest < 10 else f"{first} {_below_thousand(rest, british)}"


def decimal(whole: str, fraction: str, *, british: bool = False) -> str:
    """Say a number with a point: what follows it digit by digit."""
    return f"{cardinal(whole or '0', british=british)} point {spelled(fraction)}"


def spelled(digits: str) -> str:
    """Say a number digit by digit."""
    return " ".join(_ONES[int(digit)] for digit in digits)


def plural(words: str) -> str:
    """Say several of a number: "nineties", "two thousands"."""
    if words.endswith("y"):
        return words[:-1] + "ies"
    return words + ("es" if words.endswith("x") else "s")


def roman(numeral: str) -> int:
    """Give the value of a Roman numeral."""
    values = [{"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}[letter] for letter in numeral]
    following = [*values[1:], 0]
    return sum(
        -value if value < after else value for value, after in zip(values, following, strict=True)
    )


def _below_thousand(number: int, british: bool) -> str:
    hundreds, rest = divmod(number, 100)
    words = []
    if hundreds:
        words.append(f"{_ONES[hundreds]} hundred")
        if rest and british:
            words.append("and")
    if rest >= 20:
        tens, ones = divmod(rest, 10)
        words.append(f"{_TENS[tens]}-{_ONES[ones]}" if ones else _TENS[tens])
    elif rest:
        words.append(_ONES[rest])
    return " ".join(words)
