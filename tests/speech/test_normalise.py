"""What is written is said: a table of each kind, and prose that stays as it is."""

from __future__ import annotations

import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazen.speech.normalise import normalise
from blazen.speech.numbers import cardinal, ordinal, roman, year

ENGLISH = {
    "numbers": [
        ("I have 0 apples and 7 pears.", "I have zero apples and seven pears."),
        ("There are 1,234 items.", "There are one thousand two hundred thirty-four items."),
        ("1234567", "one million two hundred thirty-four thousand five hundred sixty-seven"),
        ("He scored 100.", "He scored one hundred."),
        ("Pi is 3.14159.", "Pi is three point one four one five nine."),
        ("It fell by .5 points", "It fell by zero point five points"),
        ("1 000 000 people", "one million people"),
        ("5\u202f000 people", "five thousand people"),
        ("-1 000 000", "minus one million"),
        ("100 200 300", "one hundred two hundred three hundred"),
        ("0x1F of IPv6/0xB2", "zero x one F of IPv six/zero x B two"),
        ("-5 degrees outside", "minus five degrees outside"),
        ("It was −3.5 then", "It was minus three point five then"),
        ("Agent 007", "Agent zero zero seven"),
        ("1,000,000,000 stars", "one billion stars"),
        ("a 5M jackpot", "a five million jackpot"),
        ("50k users", "fifty thousand users"),
        ("(12)", "(twelve)"),
        ("between 3 and 4, or 5", "between three and four, or five"),
        ("1" * 40, " ".join(["one"] * 40)),
    ],
    "ordinals": [
        ("the 1st, 2nd and 3rd", "the first, second and third"),
        ("my 21st birthday", "my twenty-first birthday"),
        ("the 100th time", "the one hundredth time"),
        ("the 1,000th visitor", "the one thousandth visitor"),
        ("5th Avenue", "fifth Avenue"),
        ("3rd-5th graders", "third to fifth graders"),
        ("the 12th and 20th", "the twelfth and twentieth"),
    ],
    "years": [
        ("Born in 1999.", "Born in nineteen ninety-nine."),
        ("since 2005", "since two thousand five"),
        ("In 1066, William won.", "In ten sixty-six, William won."),
        ("in 1900 and 1905", "in nineteen hundred and nineteen oh five"),
        ("the 2016 election", "the twenty sixteen election"),
        ("in 2000", "in two thousand"),
        ("the 1990s", "the nineteen nineties"),
        ("the '90s", "the nineties"),
        ("the 2000s", "the two thousands"),
        ("in her 20s", "in her twenties"),
        ("the '60s and 70s", "the sixties and seventies"),
        ("the mid-80s", "the mid-eighties"),
        ("the class of '99", "the class of ninety-nine"),
        ("(1879–1955)", "(eighteen seventy-nine to nineteen fifty-five)"),
        ("from 1990-95", "from nineteen ninety to ninety-five"),
        ("1500 people came", "one thousand five hundred people came"),
        ("He counted 2048 birds.", "He counted two thousand forty-eight birds."),
        ("44 B.C. was", "forty-four BC was"),
    ],
    "dates": [
        ("on 3/4/2026", "on March fourth, twenty twenty-six"),
        ("on 25/12/2025", "on December twenty-fifth, twenty twenty-five"),
        ("2026-03-04", "March fourth, twenty twenty-six"),
        ("March 4th, 2026", "March fourth, twenty twenty-six"),
        ("March 4, 2026, was", "March fourth, twenty twenty-six, was"),
        ("4 March 2026", "the fourth of March, twenty twenty-six"),
        ("the 4th of July", "the fourth of July"),
        ("Jan. 5", "January fifth"),
        ("Sept. 11, 2001", "September eleventh, two thousand one"),
        ("in March 2026", "in March twenty twenty-six"),
        ("Mon., Jan. 5", "Monday, January fifth"),
        ("May 3-5", "May third to fifth"),
        ("due 12/25", "due December twenty-fifth"),
        ("1/2/99", "January second, nineteen ninety-nine"),
        ("in 12/2025 or so", "in twelve over two thousand twenty-five or so"),
        ("04.03.2026", "March fourth, twenty twenty-six"),
        ("at 2026-03-04T10:30:00Z", "at March fourth, twenty twenty-six at ten thirty"),
        ("May I come? You may.", "May I come? You may."),
        ("They march 20 miles.", "They march twenty miles."),
    ],
    "times": [
        ("at 10:30", "at ten thirty"),
        ("at 7pm.", "at seven PM."),
        ("at 7 p.m. sharp", "at seven PM sharp"),
        ("It ends at 7 p.m.", "It ends at seven PM."),
        ("at 14:05", "at fourteen oh five"),
        ("at 14:00", "at fourteen hundred"),
        ("at 7:00", "at seven o'clock"),
        ("at 9:00 AM", "at nine AM"),
        ("10:30am", "ten thirty AM"),
        ("1:23:45", "one twenty-three forty-five"),
        ("9:30-10:15", "nine thirty to ten fifteen"),
        ("9am-5pm", "nine AM to five PM"),
        ("I am 5", "I am five"),
    ],
    "money": [
        ("$5.20", "five dollars and twenty cents"),
        ("$1", "one dollar"),
        ("$0.99", "ninety-nine cents"),
        ("$1.01", "one dollar and one cent"),
        ("€3m", "three million euros"),
        ("$3.5 million", "three point five million dollars"),
        ("£1,000", "one thousand pounds"),
        ("£2.50", "two pounds and fifty pence"),
        ("50¢", "fifty cents"),
        ("$2bn", "two billion dollars"),
        ("a $5 bill", "a five dollar bill"),
        ("-$20", "minus twenty dollars"),
        ("$5-10", "five to ten dollars"),
        ("$10-$20", "ten to twenty dollars"),
        ("20 €", "twenty euros"),
        ("¥500", "five hundred yen"),
        ("US$40", "forty US dollars"),
        ("100 USD", "one hundred dollars"),
        ("$9/month", "nine dollars per month"),
        ("€5,50", "five euros and fifty cents"),
        ("5,50 €", "five euros and fifty cents"),
        ("It cost $5.", "It cost five dollars."),
        ("$.50", "fifty cents"),
        ("$9/yr", "nine dollars per year"),
        ("€1.234,56", "one thousand two hundred thirty-four euros and fifty-six cents"),
        ("1.234,56 €", "one thousand two hundred thirty-four euros and fifty-six cents"),
        ("$1,234.56", "one thousand two hundred thirty-four dollars and fifty-six cents"),
    ],
    "percent and units": [
        ("50% off", "fifty percent off"),
        ("12.5%", "twelve point five percent"),
        ("5-10%", "five to ten percent"),
        ("5 km/h", "five kilometers per hour"),
        ("20°C", "twenty degrees Celsius"),
        ("-4 °F", "minus four degrees Fahrenheit"),
        ("90°", "ninety degrees"),
        ("3kg", "three kilograms"),
        ("1 kg", "one kilogram"),
        ("0.5 L", "zero point five liters"),
        ("5'10\"", "five foot ten"),
        ("60 mph", "sixty miles per hour"),
        ("a 5 km run", "a five kilometer run"),
        ("16GB of RAM", "sixteen gigabytes of RAM"),
        ("120 m²", "one hundred twenty square meters"),
        ("3.5 GHz", "three point five gigahertz"),
        ("10 × 15 cm", "ten by fifteen centimeters"),
        ("1920x1080", "one thousand nine hundred twenty by one thousand eighty"),
        ("6 ft tall", "six feet tall"),
        ("15 min", "fifteen minutes"),
        ("10 in the morning", "ten in the morning"),
        ("I ran 10 km.", "I ran ten kilometers."),
        ("250ms", "two hundred fifty milliseconds"),
        ("1h 30m", "one hour thirty minutes"),
        ("1h30m", "one hour thirty minutes"),
        ("2m 30s", "two minutes thirty seconds"),
        ("1h 2m 3s", "one hour two minutes three seconds"),
        ("a 3m pole", "a three meter pole"),
        ("10%/yr", "ten percent per year"),
    ],
    "fractions and sums": [
        ("1/2 cup", "one half cup"),
        ("use <div> here", "use <div> here"),
        ("3/4 of it", "three quarters of it"),
        ("2 1/2 hours", "two and a half hours"),
        ("½ cup", "one half cup"),
        ("1¾ miles", "one and three quarters miles"),
        ("2/3", "two thirds"),
        ("24/7", "twenty-four seven"),
        ("2+2=4", "two plus two equals four"),
        ("2 × 3 = 6", "two times three equals six"),
        ("10 - 4 = 6", "ten minus four equals six"),
        ("8 ÷ 2", "eight divided by two"),
        ("3 < 4", "three is less than four"),
        ("5 > 2", "five is greater than two"),
        ("x >= 10", "x is at least ten"),
        ("x² + y² = z²", "x squared plus y squared equals z squared"),
        ("2^8", "two to the power of eight"),
        ("±3", "plus or minus three"),
        ("~50 people", "about fifty people"),
        ("16:9", "sixteen to nine"),
        ("4.5/5 stars", "four point five out of five stars"),
        ("5+ years", "five plus years"),
        ("1/3 + 1/6 = 1/2", "one third plus one sixth equals one half"),
        ("foo>=2", "foo is at least two"),
        ("a 50-50 chance", "a fifty-fifty chance"),
    ],
    "ranges, telephones, versions": [
        ("10-20 people", "ten to twenty people"),
        ("pp. 3-5", "pages three to five"),
        ("p. 7", "page seven"),
        ("Call 555-1234.", "Call five five five, one two three four."),
        (
            "+1 (555) 123-4567",
            "plus one, five five five, one two three, four five six seven",
        ),
        ("020 7946 0958", "zero two zero, seven nine four six, zero nine five eight"),
        ("dial 911", "dial nine one one"),
        ("version 3.11.2", "version three point eleven point two"),
        ("Python 3.11", "Python three point eleven"),
        ("v2.0 is out", "version two point zero is out"),
        ("127.0.0.1", "one hundred twenty-seven dot zero dot zero dot one"),
    ],
    "names": [
        ("Henry VIII had six wives.", "Henry the eighth had six wives."),
        ("World War II", "World War two"),
        ("World War I was", "World War one was"),
        ("Elizabeth I of England", "Elizabeth the first of England"),
        ("Queen Elizabeth II's reign", "Queen Elizabeth the second's reign"),
        ("Pope John Paul II", "Pope John Paul the second"),
        ("Chapter IV", "Chapter four"),
        ("the XIX century", "the nineteenth century"),
        ("James, I think so.", "James, I think so."),
        ("When George I think of it", "When George I think of it"),
        ("Dr. Smith lives on Elm Dr.", "Doctor Smith lives on Elm Drive."),
        ("Elm Dr. is long", "Elm Drive is long"),
        ("St. John of Main St.", "Saint John of Main Street."),
        ("Dr Jones", "Doctor Jones"),
        ("Mr. and Mrs. Lee", "Mister and Mrs Lee"),
        ("Ms. Ng met Prof. Li", "Miz Ng met Professor Li"),
        ("Lt. Gov. Brown", "Lieutenant Governor Brown"),
        ("Mt. Everest", "Mount Everest"),
        ("Ft. Worth", "Fort Worth"),
        ("5th Ave.", "fifth Avenue."),
        ("J. R. R. Tolkien", "J R R Tolkien"),
        ("Sammy Davis Jr. sang", "Sammy Davis Junior sang"),
        ("Apple Inc. grew", "Apple Incorporated grew"),
    ],
    "abbreviations and signs": [
        ("pens, paper, etc.", "pens, paper, et cetera."),
        ("fruit, e.g. figs", "fruit, for example figs"),
        ("the best, i.e. mine", "the best, that is mine"),
        ("us vs. them", "us versus them"),
        ("approx. 5", "approximately five"),
        ("No. 5", "number five"),
        ("No. I will not.", "No. I will not."),
        ("I said no. 3 people left.", "I said no. three people left."),
        ("no. 3 on the list", "number three on the list"),
        ("Malcolm X spoke", "Malcolm X spoke"),
        ("King Malcolm III", "King Malcolm the third"),
        ("a V8 engine", "a V eight engine"),
        ("V8.1 and v9", "version eight point one and version nine"),
        ("Call 911.", "Call nine one one."),
        ("Dial 112.", "Dial one one two."),
        ("Call 100 people.", "Call one hundred people."),
        ("Fig. 3", "figure three"),
        ("the U.S. Army", "the US Army"),
        ("a Ph.D. student", "a PhD student"),
        ("NASA and the FBI", "NASA and the FBI"),
        ("#5", "number five"),
        ("Tom & Jerry, R&D", "Tom and Jerry, R and D"),
        ("C++ and C#", "C plus plus and C sharp"),
        ("@ada", "at ada"),
        ("and/or", "and or"),
        ("snake_case", "snake case"),
        ("COVID-19", "COVID nineteen"),
        ("an mp3 of H2O", "an mp three of H two O"),
        ("GPT-4", "GPT four"),
        ("the 2-year-old", "the two-year-old"),
        ("Boeing 747s", "Boeing seven hundred forty-sevens"),
        ("WWII", "World War two"),
    ],
    "letters of another shape": [
        ("10⁶", "ten to the power of six"),
        ("10⁻⁶", "ten to the power of minus six"),
        ("2¹⁰ = 1024", "two to the power of ten equals one thousand twenty-four"),
        ("10²³", "ten to the power of twenty-three"),
        ("x³ of 5 m³", "x cubed of five cubic meters"),
        ("a word¹ here", "a word one here"),
        ("H₂O and x₁", "H two O and x one"),
        ("①First", "one First"),
        ("𝐁old 𝟓 Ⓐ", "Bold five A"),
        ("ﬁne Ωs", "ﬁne Ωs"),
    ],
    "addresses": [
        ("me@example.com", "me at example dot com"),
        ("first.last_1@a-b.co.uk", "first dot last underscore one at a dash b dot co dot uk"),
        ("https://www.example.com/path?x=1", "example dot com slash path"),
        ("See http://example.org.", "See example dot org."),
        ("(www.example.com)", "(example dot com)"),
        ("Go to example.com now", "Go to example dot com now"),
    ],
    "marks": [
        ("**bold** and `code`", "bold and code"),
        ("an *important* and _quiet_ word", "an important and quiet word"),
        ("# Heading", "Heading"),
        ("- item", "item"),
        ("* item", "item"),
        ("- [x] done", "done"),
        ("> quoted", "quoted"),
        ("1. First", "one, First"),
        ("[text](https://example.com/a_b)", "text"),
        ("![a cat](cat.png)", "a cat"),
        ("| a | b |", "a, b"),
        ("~~gone~~", "gone"),
        ("Hello 🙂!", "Hello!"),
        ("🦙🏽‍🔬", ""),
        ("---", ""),
        ("File → Save", "File to Save"),
        ("one\n  two", "one two"),
    ],
}
BRITISH = [
    ("on 3/4/2026", "on the third of April, twenty twenty-six"),
    ("on 3/25/2026", "on the twenty-fifth of March, twenty twenty-six"),
    ("2026-03-04", "the fourth of March, twenty twenty-six"),
    ("March 4", "March the fourth"),
    ("105 days", "one hundred and five days"),
    ("1,005 days", "one thousand and five days"),
    ("5 km", "five kilometres"),
    ("2 l", "two litres"),
    ("in 2005", "in two thousand and five"),
]
OTHERS = [
    ("de", "Ich habe 25 Äpfel.", "Ich habe fünfundzwanzig Äpfel."),
    (
        "de",
        "Es kostet 1.234,50 €",
        "Es kostet eintausendzweihundertvierunddreißig Euro und fünfzig Cent",
    ),
    ("de", "5 €", "fünf Euro"),
    ("de", "$20", "zwanzig Dollar"),
    ("de", "US$ 20", "zwanzig Dollar"),
    ("de", "1.000 €", "eintausend Euro"),
    ("de", "-5 €", "minus fünf Euro"),
    ("de", "1,234 €", "1,234 €"),
    ("fr", "5 €", "cinq euros"),
    ("fr", "$20", "vingt dollars"),
    ("fr", "1.000 €", "mille euros"),
    ("es", "5 €", "cinco euros"),
    ("es", "$20", "veinte dólares"),
    ("es", "1.000 €", "mil euros"),
    ("it", "5 €", "cinque euro"),
    ("it", "$20", "venti dollari"),
    ("it", "1.000 €", "mille euro"),
    ("nl", "5 €", "vijf euro"),
    ("nl", "$20", "twintig dollar"),
    ("nl", "1.000 €", "duizend euro"),
    ("pt", "5 €", "cinco euros"),
    ("pt", "$20", "vinte dólares"),
    ("pt", "1.000 €", "mil euros"),
    ("pt", "R$ 5,50", "cinco reais e cinquenta centavos"),
    ("pt-br", "R$ 1,01", "um real e um centavo"),
    ("sv", "$20", "tjugo dollar"),
    ("da", "5 €", "fem euro"),
    ("tr", "5 €", "beş avro"),
    ("ja", "$20", "$20"),
    ("de", "R$ 5,50", "R$ 5,50"),
    ("de", "Tel. 030 12", "Tel. null drei null, eins zwei"),
    ("de", "Agent 007", "Agent null null sieben"),
    ("de", "0,5 Liter", "null Komma fünf Liter"),
    ("de", "0.500 kg", "0.500 kg"),
    ("de", "10⁶ H₂O", "10⁶ H2O"),
    ("de", "50 % davon", "fünfzig Prozent davon"),
    ("de", "im Jahr 1999", "im Jahr neunzehnhundertneunundneunzig"),
    ("de", "am 3. März", "am 3. März"),
    ("fr", "J'ai 21 ans", "J'ai vingt et un ans"),
    ("fr", "le 1er mai, le 2e jour", "le premier mai, le deuxième jour"),
    ("fr", "3,5 %", "trois virgule cinq pour cent"),
    ("es", "tengo 16 años", "tengo dieciséis años"),
    ("pl", "mam 5 kotów", "mam pięć kotów"),
    ("ja", "3", "三"),
    ("xx", "I have 25 apples", "I have 25 apples"),
    ("zh", "我有25个苹果", "我有25个苹果"),
    ("de", "**fett** 10:30 Uhr", "fett 10:30 Uhr"),
]
PROSE = [
    "The quick brown fox jumps over the lazy dog.",
    '"I am here," she said; "are you?" (He wasn\'t.)',
    "It’s a well-known fact — isn’t it? — that dogs bark…",
    "He was in the right; I was in the wrong. Vs and ps and qs.",
    "I saw mom and dad, and stones too.",
    "What if I, and only I, were to say so?",
    "MIX and match with XL shirts, an IV drip and DVDs.",
    "Yes! No? Well... perhaps: later.",
    "rock 'n' roll, 'tis said, o'clock",
    "No man is an island, and no. That was it.",
]


@pytest.mark.parametrize(
    ("written", "said"), [case for cases in ENGLISH.values() for case in cases], ids=str
)
def test_english_is_written_as_it_is_said(written, said):
    assert normalise(written, "en") == said
    assert normalise(said, "en") == said


@pytest.mark.parametrize(("written", "said"), BRITISH, ids=str)
def test_the_british_say_it_their_way(written, said):
    assert normalise(written, "en-GB") == said
    assert normalise(written, "en_gb") == said


@pytest.mark.parametrize(("language", "written", "said"), OTHERS, ids=str)
def test_other_languages_say_their_numbers(language, written, said):
    pytest.importorskip("num2words")
    assert normalise(written, language) == said


def test_without_num2words_other_languages_are_left_to_the_engine(monkeypatch):
    from blazen.speech import other_languages

    monkeypatch.setitem(sys.modules, "num2words", None)
    other_languages._converter.cache_clear()
    try:
        assert normalise("Ich habe 25 **Äpfel**.", "de") == "Ich habe 25 Äpfel."
        assert normalise("I have 25 apples.", "en") == "I have twenty-five apples."
    finally:
        other_languages._converter.cache_clear()


@pytest.mark.parametrize("prose", PROSE)
def test_prose_stays_as_it_is(prose):
    assert normalise(prose, "en") == prose
    assert normalise(prose, "en-gb") == prose


WORDS = st.lists(
    st.from_regex(r"[A-Za-z]?[a-z]{1,9}(?:['’-][a-z]{1,6})?", fullmatch=True),
    min_size=1,
    max_size=12,
)


@given(WORDS, st.sampled_from([" ", ", ", "; ", " – "]), st.sampled_from([".", "!", "?", "…", ""]))
def test_plain_words_stay_as_they_are(words, between, stop):
    prose = between.join(words) + stop
    assert normalise(prose, "en") == prose


@given(st.text(max_size=60))
def test_any_text_is_taken(text):
    for language in ("en", "en-gb", "de", "ja"):
        assert normalise(text, language) == normalise(text, language).strip()


@given(st.text(alphabet="0123456789.,:/-+$€%'\"sthndkm° xIVDr&#@*_<>=()", max_size=30))
def test_no_digit_is_left_and_saying_it_again_changes_nothing(text):
    said = normalise(text, "en")
    assert not re.search(r"\d", said)


@given(st.integers(0, 10**36 - 1))
def test_cardinals_and_ordinals_agree_with_the_reference(number):
    num2words = pytest.importorskip("num2words").num2words
    plain = num2words(number, lang="en").replace(",", "").replace(" and ", " ")
    assert cardinal(str(number)) == plain
    if number < 10**12:
        place = num2words(number, lang="en", to="ordinal").replace(",", "").replace(" and ", " ")
        assert ordinal(str(number)) == place
        british = num2words(number, lang="en").replace(",", "")
        assert cardinal(str(number), british=True) == british


@given(st.integers(1000, 2999))
def test_years_hold_their_number(number):
    words = year(str(number))
    assert "zero" not in words
    assert year(str(number)) != year(str(number + 1))


def test_roman_numerals():
    assert [roman(numeral) for numeral in ("I", "IV", "IX", "XIV", "XXXIX", "LV")] == [
        1, 4, 9, 14, 39, 55,
    ]  # fmt: skip
