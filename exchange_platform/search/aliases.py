"""Other ways to write a name's words: abbreviations, nicknames, cities in their own language, countries. Data
and its lookup only.

Documents are indexed under all of them, so a query needs none. Terms here are folded: lower case, no accents,
no punctuation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache

Phrase = tuple[str, ...]

SEPARATORS = frozenset({"v", "vs", "versus"})
"""Between two sides of a name; no one looks for them."""

OPTIONAL = SEPARATORS | {
    "fc", "afc", "cf", "sc", "fk", "sk", "ac", "bk", "if", "cc", "the", "of", "and", "club",
}  # fmt: skip
"""Words that a query may have and a name may lack: they are preferred, not demanded."""

_SAME_WORDS = (
    "united utd", "saint st", "saints sts", "athletic ath", "atletico atl atleti", "wanderers wdrs", "rovers rvs",
    "county co", "women womens ladies w", "men mens", "reserves res", "international intl", "borussia bor",
    "dynamo dinamo", "sporting sp", "mount mt", "fort ft", "academy acad", "university uni",
    "munich munchen muenchen", "cologne koln koeln", "nuremberg nurnberg nuernberg", "hanover hannover",
    "gladbach monchengladbach moenchengladbach", "rome roma", "milan milano", "turin torino", "naples napoli", "florence firenze",
    "venice venezia", "lisbon lisboa", "seville sevilla", "vienna wien", "prague praha", "warsaw warszawa",
    "belgrade beograd", "copenhagen kobenhavn koebenhavn", "gothenburg goteborg goeteborg", "bucharest bucuresti",
    "kyiv kiev", "moscow moskva", "marseille marseilles", "lyon lyons", "brussels bruxelles", "bruges brugge",
    "antwerp antwerpen", "geneva geneve", "basel basle", "athens athina",
    "netherlands holland", "czechia czech", "turkey turkiye", "eswatini swaziland", "macau macao",
    "cavaliers cavs", "mavericks mavs", "timberwolves wolves", "buccaneers bucs", "diamondbacks dbacks",
    "championship champs", "football soccer", "greyhound greyhounds dogs", "basketball bball", "horse horses",
)  # fmt: skip

# Forms after the bar are added where another form stands, but say nothing where they stand themselves: `Inter
# Miami` is not in Milan.
_SAME_PHRASES = (
    "manchester united; man united; man utd; man u | mufc",
    "manchester city; man city | mcfc",
    "wolverhampton wanderers; wolverhampton; wolves",
    "tottenham hotspur; tottenham | spurs",
    "queens park rangers; qpr",
    "west bromwich albion; west bromwich; west brom; wba",
    "brighton and hove albion; brighton hove albion; brighton",
    "nottingham forest; nottm forest; notts forest",
    "sheffield wednesday; sheff wed; sheff wednesday",
    "sheffield united; sheff utd; sheff united",
    "middlesbrough; boro",
    "peterborough united; peterborough | posh",
    "paris saint germain; paris st germain; paris sg; psg",
    "borussia dortmund; bvb; dortmund",
    "borussia monchengladbach; bmg; gladbach; monchengladbach",
    "bayern munich; bayern munchen; bayern | fcb",
    "rasenballsport leipzig; rb leipzig; rbl",
    "barcelona; barca",
    "atletico madrid; atleti",
    "athletic bilbao; athletic club",
    "real betis; betis",
    "internazionale; inter milan | inter",
    "juventus; juve",
    "psv eindhoven; psv",
    "red star belgrade; crvena zvezda",
    "sporting lisbon; sporting cp",
    "los angeles lakers; la lakers", "los angeles clippers; la clippers", "los angeles galaxy; la galaxy",
    "los angeles dodgers; la dodgers", "los angeles rams; la rams", "los angeles chargers; la chargers",
    "los angeles kings; la kings", "los angeles angels; la angels", "los angeles fc; lafc; la fc",
    "new york; ny | nyc", "new york city; nyc; ny city",
    "philadelphia 76ers | sixers; philly 76ers", "golden state warriors | dubs",
    "oklahoma city | okc", "san francisco | sf", "kansas city | kc", "tampa bay | tb", "new orleans | nola",
    "new england patriots | pats",
    "united states; usa; united states of america | us",
    "united kingdom; great britain | uk; gb",
    "united arab emirates; uae", "south africa | rsa; proteas", "new zealand | nz; black caps; all blacks",
    "west indies; windies", "papua new guinea; png",
    "republic of ireland | roi; eire", "ivory coast; cote divoire; cote d ivoire", "cape verde; cabo verde",
    "south korea; korea republic; republic of korea", "north korea; korea dpr", "czech republic; czechia",
    "bosnia and herzegovina; bosnia herzegovina; bosnia", "north macedonia; macedonia", "dr congo; congo dr; drc",
    "trinidad and tobago; trinidad tobago; trinidad",
    "royal challengers bangalore; royal challengers bengaluru; rcb", "chennai super kings; csk",
    "kolkata knight riders; kkr",
    "under 17; u17; under17", "under 18; u18; under18", "under 19; u19; under19", "under 20; u20; under20",
    "under 21; u21; under21", "under 23; u23; under23",
    "uefa champions league; champions league; ucl", "english premier league; premier league; epl",
    "womens super league; wsl", "indian premier league; ipl", "big bash league; bbl",
    "national basketball association; nba", "national football league; nfl", "major league soccer; mls",
    "twenty20; t20; twenty 20", "one day international; odi", "mixed martial arts; mma",
)  # fmt: skip

COUNTRIES: Mapping[str, tuple[str, ...]] = {
    "AE": ("United Arab Emirates",), "AR": ("Argentina",), "AT": ("Austria",), "AU": ("Australia",),
    "BD": ("Bangladesh",), "BE": ("Belgium",), "BG": ("Bulgaria",), "BR": ("Brazil",), "CA": ("Canada",),
    "CH": ("Switzerland",), "CL": ("Chile",), "CN": ("China",), "CO": ("Colombia",), "CY": ("Cyprus",), "CZ": ("Czech Republic",),
    "DE": ("Germany",), "DK": ("Denmark",), "EC": ("Ecuador",), "EE": ("Estonia",), "EG": ("Egypt",), "ES": ("Spain",),
    "FI": ("Finland",), "FR": ("France",), "GB": ("Great Britain", "United Kingdom", "England"), "GR": ("Greece",), "HK": ("Hong Kong",), "HR": ("Croatia",),
    "HU": ("Hungary",), "ID": ("Indonesia",), "IE": ("Ireland",), "IL": ("Israel",), "IN": ("India",), "IS": ("Iceland",),
    "IT": ("Italy",), "JM": ("Jamaica",), "JP": ("Japan",), "KE": ("Kenya",), "KR": ("South Korea",), "LK": ("Sri Lanka",),
    "LT": ("Lithuania",), "LV": ("Latvia",), "MA": ("Morocco",), "MX": ("Mexico",), "MY": ("Malaysia",), "NG": ("Nigeria",),
    "NL": ("Netherlands",), "NO": ("Norway",), "NZ": ("New Zealand",), "PE": ("Peru",), "PG": ("Papua New Guinea",),
    "PK": ("Pakistan",), "PL": ("Poland",), "PT": ("Portugal",), "PY": ("Paraguay",), "QA": ("Qatar",), "RO": ("Romania",),
    "RS": ("Serbia",), "RU": ("Russia",), "SA": ("Saudi Arabia",), "SE": ("Sweden",), "SG": ("Singapore",), "SI": ("Slovenia",),
    "SK": ("Slovakia",), "TH": ("Thailand",), "TN": ("Tunisia",), "TR": ("Turkey",), "UA": ("Ukraine",), "US": ("United States",),
    "UY": ("Uruguay",), "VE": ("Venezuela",), "VN": ("Vietnam",), "ZA": ("South Africa",), "ZW": ("Zimbabwe",),
}  # fmt: skip
"""The names under which events of a country are found, by its letters in ISO 3166."""


@cache
def _words() -> dict[str, tuple[str, ...]]:
    found: dict[str, set[str]] = {}
    for line in _SAME_WORDS:
        group = line.split()
        for word in group:
            found.setdefault(word, set()).update(other for other in group if other != word)
    return {word: tuple(sorted(others)) for word, others in found.items()}


@cache
def _phrases() -> dict[str, list[tuple[Phrase, tuple[Phrase, ...]]]]:
    """First word -> (phrase, its other forms), longest first."""
    found: dict[str, list[tuple[Phrase, tuple[Phrase, ...]]]] = {}
    for line in _SAME_PHRASES:
        telling, _, added = line.partition("|")
        known = [tuple(form.split()) for form in telling.split(";")]
        every = known + [tuple(form.split()) for form in added.split(";") if form.strip()]
        for phrase in known:
            found.setdefault(phrase[0], []).append((phrase, tuple(form for form in every if form != phrase)))
    for forms in found.values():
        forms.sort(key=lambda form: -len(form[0]))
    return found


def other_words(word: str) -> tuple[str, ...]:
    """Other spellings of one word."""
    return _words().get(word, ())


def other_phrases(words: Sequence[str]) -> Iterator[tuple[int, int, tuple[Phrase, ...]]]:
    """(first, end, other forms) of each known phrase among the words."""
    known = _phrases()
    for first, word in enumerate(words):
        for phrase, forms in known.get(word, ()):
            if tuple(words[first : first + len(phrase)]) == phrase:
                yield first, first + len(phrase), forms
