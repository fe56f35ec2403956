"""English names of the languages, by the name that PaddleOCR has for each."""

from __future__ import annotations

import functools

NAMES = """
abq Abaza | ady Adyghe | af Afrikaans | ang Angika | ar Arabic | ava Avar | az Azerbaijani | ba Bashkir | bal Balochi | be Belarusian
bg Bulgarian | bgc Haryanvi | bh Bihari | bho Bhojpuri | bs Bosnian | bua Buryat | ca Catalan | ch Chinese (simplified), English
che Chechen | chinese_cht Chinese (traditional) | cs Czech | cv Chuvash | cy Welsh | da Danish | dar Dargwa | de German | el Greek
en English | es Spanish | et Estonian | eu Basque | fa Persian | fi Finnish | fr French | french French | ga Irish | german German
gl Galician | gom Konkani | hi Hindi | hr Croatian | hu Hungarian | id Indonesian | inh Ingush | is Icelandic | it Italian
japan Japanese | ka Kannada | kaa Karakalpak | kbd Kabardian | kk Kazakh | korean Korean | ku Kurdish | kv Komi | ky Kyrgyz | la Latin
lb Luxembourgish | lbe Lak | lez Lezgian | lt Lithuanian | lv Latvian | mah Magahi | mai Maithili | mhr Mari | mi Maori
mk Macedonian | mn Mongolian | mo Moldovan | mr Marathi | ms Malay | mt Maltese | ne Nepali | new Newar | nl Dutch | no Norwegian
oc Occitan | os Ossetian | pi Pali | pl Polish | ps Pashto | pt Portuguese | qu Quechua | rm Romansh | ro Romanian
rs_cyrillic Serbian (Cyrillic) | rs_latin Serbian (Latin) | ru Russian | sa Sanskrit | sah Yakut | sck Sadri | sd Sindhi | sk Slovak
sl Slovenian | sq Albanian | sv Swedish | sw Swahili | ta Tamil | tab Tabasaran | te Telugu | tg Tajik | th Thai | tl Tagalog
tr Turkish | tt Tatar | tyv Tuvan | udm Udmurt | ug Uyghur | uk Ukrainian | ur Urdu | uz Uzbek | vi Vietnamese | xal Kalmyk
"""


@functools.cache
def names() -> dict[str, str]:
    """Return the English name of each language."""
    pairs = (entry.strip().partition(" ") for line in NAMES.splitlines() for entry in line.split("|") if entry.strip())
    return {code: name for code, _, name in pairs}
