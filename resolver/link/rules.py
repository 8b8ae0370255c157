"""The catalogue of blocking rules: two records are compared if they share a key of some rule.

A rule is a list of SQL expressions over table `parts`; its key is their hash, and a record that lacks any of them has
none. Rules of every family of evidence come wide and narrow (with company: a birth year, a town), because a key that
is cheap among thousands grows with the square of the records; the planner chooses. Knows nothing of budgets.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb


@dataclass(frozen=True)
class Rule:
    name: str
    family: str
    parts: tuple[str, ...]
    source: str = "parts"  # or a table with several rows per record


def _rule(family: str, *parts: str, source: str = "parts", name: str | None = None) -> Rule:
    words = name or " + ".join(_WORDS.get(part, part.replace("_", " ")) for part in parts)
    return Rule(words, family, parts, source)


_WORDS = {
    "first_initial": "first initial",
    "last_initial": "last initial",
    "first_sound": "first name by sound",
    "last_sound": "last name by sound",
    "first_head": "first three letters of the first name",
    "last_head": "first three letters of the last name",
    "first_tail": "last three letters of the first name",
    "last_tail": "last three letters of the last name",
    "ssn_last4": "last four of the SSN",
    "ssn_head": "first five of the SSN",
    "month_day": "month and day of birth",
    "year_month": "year and month of birth",
    "year_day": "year and day of birth",
    "zip_area": "ZIP area",
    "street_word": "street name",
    "phone_head": "first six of the phone",
    "phone_tail": "last four of the phone",
    "word": "any word of the names by sound",
    "first_ends": "first and last letter of the first name",
    "last_ends": "first and last letter of the last name",
    "height": "adult height",
    "code": "rare code",
}

RULES: tuple[Rule, ...] = (
    _rule("identifier", "ssn", name="SSN"),
    _rule("identifier", "member_id", name="insurance number"),
    _rule("identifier", "phone"),
    _rule("identifier", "email"),
    _rule("identifier", "ssn_last4"),
    _rule("identifier", "ssn_last4", "sex"),
    _rule("identifier", "ssn_last4", "first_initial"),
    _rule("identifier", "ssn_last4", "last_initial"),
    _rule("identifier", "ssn_last4", "year"),
    _rule("identifier", "ssn_head"),
    _rule("identifier", "ssn_head", "sex"),
    _rule("identifier", "ssn_head", "last_initial"),
    _rule("identifier", "phone_tail", "sex"),
    _rule("identifier", "phone_head", "sex"),
    _rule("birth date", "birth_date"),
    _rule("birth date", "birth_date", "sex"),
    _rule("birth date", "month_day"),
    _rule("birth date", "month_day", "sex"),
    _rule("birth date", "year_month", "sex"),
    _rule("birth date", "year", "sex"),
    _rule("birth date", "year", "first_initial", "sex"),
    _rule("birth date", "year", "last_initial", "sex"),
    _rule("birth date", "birth_date", "first_initial"),
    _rule("birth date", "birth_date", "last_initial"),
    _rule("birth date", "month_day", "first_initial"),
    _rule("birth date", "month_day", "last_initial"),
    _rule("birth date", "month_day", "first_sound"),
    _rule("birth date", "month_day", "last_sound"),
    _rule("birth date", "month_day", "zip"),
    _rule("birth date", "month_day", "city"),
    _rule("birth date", "year_month", "first_initial", "sex"),
    _rule("birth date", "year_month", "last_initial"),
    _rule("birth date", "year_month", "zip"),
    _rule("birth date", "year_day", "sex"),
    _rule("birth date", "year_day", "first_initial", "sex"),
    _rule("birth date", "year_day", "last_initial"),
    _rule("birth date", "day_month_swapped", "sex"),
    _rule("names", "first_name", "last_name"),
    _rule("names", "first_name", "sex"),
    _rule("names", "last_name", "sex"),
    _rule("names", "first_sound", "sex"),
    _rule("names", "last_sound", "sex"),
    _rule("names", "first_head", "sex"),
    _rule("names", "last_head", "sex"),
    _rule("names", "first_tail", "sex"),
    _rule("names", "last_tail", "sex"),
    _rule("names", "first_name", "year"),
    _rule("names", "last_name", "year"),
    _rule("names", "first_name", "zip_area"),
    _rule("names", "last_name", "zip_area"),
    _rule("names", "first_name", "city"),
    _rule("names", "last_name", "city"),
    _rule("names", "first_sound", "last_initial"),
    _rule("names", "first_initial", "last_sound"),
    _rule("names", "first_head", "last_head"),
    _rule("names", "first_tail", "last_tail"),
    _rule("names", "first_head", "last_tail"),
    _rule("names", "first_tail", "last_head"),
    _rule("names", "word", "other_word", source="word_pairs", name="two words of the names by sound, in any order"),
    _rule("names", "word", "sex", "year", source="words"),
    _rule("names", "word", "sex", "zip_area", source="words"),
    _rule("names", "word", "sex", "city", source="words"),
    _rule("initials", "first_initial", "sex"),
    _rule("initials", "last_initial", "sex"),
    _rule("initials", "first_ends", "sex"),
    _rule("initials", "last_ends", "sex"),
    _rule("initials", "first_ends", "last_ends"),
    _rule("initials", "first_initial", "last_initial"),
    _rule("initials", "first_initial", "last_initial", "sex"),
    _rule("initials", "first_initial", "last_initial", "year", "sex"),
    _rule("initials", "first_initial", "last_initial", "city"),
    _rule("initials", "first_initial", "last_initial", "zip"),
    _rule("initials", "first_initial", "last_initial", "zip_area", "sex"),
    _rule("place", "street"),
    _rule("place", "street", "sex"),
    _rule("place", "street_number", "street_word"),
    _rule("place", "street_number", "zip"),
    _rule("place", "street_number", "city"),
    _rule("place", "street_number", "first_initial", "sex"),
    _rule("place", "street_number", "last_initial", "sex"),
    _rule("place", "street_word", "first_initial", "sex"),
    _rule("place", "street_word", "city"),
    _rule("place", "zip", "year"),
    _rule("place", "zip", "year", "sex"),
    _rule("place", "city", "year", "sex"),
    _rule("place", "zip", "first_initial", "sex"),
    _rule("place", "zip", "last_initial", "sex"),
    _rule("place", "city", "first_initial", "sex"),
    _rule("place", "city", "last_initial", "sex"),
    _rule("place", "zip", "sex"),
    _rule("place", "city", "sex"),
    _rule("place", "city", "year"),
    _rule("place", "street_number", "sex"),
    _rule("place", "street_word", "sex"),
    _rule("clinical", "height", "sex", source="heights"),
    _rule("clinical", "height", "sex", "first_initial", source="heights"),
    _rule("clinical", "height", "sex", "last_initial", source="heights"),
    _rule("clinical", "height", "sex", "year", source="heights"),
    _rule("clinical", "height", "sex", "zip_area", source="heights"),
    _rule("clinical", "height", "sex", "city", source="heights"),
    _rule("clinical", "code", source="codes"),
    _rule("clinical", "code", "sex", "first_initial", source="codes"),
    _rule("clinical", "code", "sex", "last_initial", source="codes"),
    _rule("clinical", "code", "sex", "year", source="codes"),
    _rule("clinical", "code", "sex", "city", source="codes"),
)

EVERYTHING = Rule("all pairs", "all", ("1",))

# Letters that sound alike share a digit; vowels part what they stand between, H and W do not.
_SOUNDS = ("ABCDEFGIJKLMNOPQRSTUVXYZ", "012301202245501262301202")


# Every word of two letters or more of a record's names, wherever it stands.
_WORDS_OF = """
    SELECT rid, word FROM (
        SELECT rid, unnest(string_split(concat_ws(' ', first_name, last_name, maiden_name), ' ')) AS word FROM {table})
    WHERE length(word) > 1"""


def key(rule: Rule) -> str:
    """SQL for the rule's key, null where a part is missing."""
    missing = " OR ".join(f"({part}) IS NULL" for part in rule.parts)
    return f"CASE WHEN NOT ({missing}) THEN hash({', '.join(rule.parts)}) END"


def keys(rule: Rule) -> str:
    """SQL that gives (rid, key) for every record that has one, each once."""
    distinct = "DISTINCT" if rule.source != "parts" else ""
    return f"SELECT {distinct} rid, key FROM (SELECT rid, {key(rule)} AS key FROM {rule.source}) WHERE key IS NOT NULL"


def _sound(column: str) -> str:
    spelled = f"translate({column}, 'HW ', '')"
    digits = f"translate({spelled}, '{_SOUNDS[0]}', '{_SOUNDS[1]}')"
    for digit in "123456":
        digits = f"regexp_replace({digits}, '{digit}+', '{digit}', 'g')"
    return f"substr({column}, 1, 1) || left(replace(substr({digits}, 2), '0', ''), 3)"


def prepare(con: duckdb.DuckDBPyConnection, clinical: bool) -> None:
    """Make table `parts` and those with several rows per record, from `fields`, `measured` and `coded`."""
    con.execute(f"""
        CREATE OR REPLACE TABLE sounds AS
        SELECT name, {_sound("name")} AS sound FROM (
            SELECT first_name AS name FROM fields UNION SELECT last_name FROM fields
            UNION SELECT word FROM ({_WORDS_OF.format(table="fields")}))
        WHERE name IS NOT NULL""")
    con.execute("""
        CREATE OR REPLACE TABLE parts AS
        SELECT fields.rid, first_name, last_name, sex, ssn, ssn_last4, street, street_number, city, zip, phone, email,
            member_id, birth_date,
            a.sound AS first_sound, b.sound AS last_sound,
            substr(first_name, 1, 1) AS first_initial, substr(last_name, 1, 1) AS last_initial,
            substr(first_name, 1, 3) AS first_head, substr(last_name, 1, 3) AS last_head,
            right(first_name, 3) AS first_tail, right(last_name, 3) AS last_tail,
            substr(first_name, 1, 1) || right(first_name, 1) AS first_ends,
            substr(last_name, 1, 1) || right(last_name, 1) AS last_ends,
            left(ssn, 5) AS ssn_head,
            left(phone, 6) AS phone_head, right(phone, 4) AS phone_tail,
            year(birth_date)::SMALLINT AS year,
            (month(birth_date) * 100 + day(birth_date))::SMALLINT AS month_day,
            (year(birth_date) * 100 + month(birth_date))::INTEGER AS year_month,
            (year(birth_date) * 100 + day(birth_date))::INTEGER AS year_day,
            -- the same whether day and month are swapped or not
            CASE WHEN day(birth_date) <= 12
                THEN year(birth_date) * 10000 + least(month(birth_date), day(birth_date)) * 100
                    + greatest(month(birth_date), day(birth_date)) END AS day_month_swapped,
            left(zip, 3) AS zip_area,
            nullif(split_part(street, ' ', 2), '') AS street_word
        FROM fields
        LEFT JOIN sounds AS a ON a.name = first_name
        LEFT JOIN sounds AS b ON b.name = last_name
        ANTI JOIN crowd ON crowd.rid = fields.rid
        ORDER BY fields.rid""")
    con.execute(f"""
        CREATE OR REPLACE TABLE words AS
        SELECT DISTINCT rid, sound AS word, sex, year, zip_area, city
        FROM ({_WORDS_OF.format(table="fields")}) AS spelled JOIN sounds ON sounds.name = spelled.word
        JOIN parts USING (rid)""")
    # Either order of two words gives the same key.
    con.execute("""
        CREATE OR REPLACE VIEW word_pairs AS
        SELECT rid, a.word, b.word AS other_word FROM words AS a JOIN words AS b USING (rid) WHERE a.word < b.word""")
    con.execute("DROP TABLE sounds")
    if clinical:
        for made, source, column in (("heights", "measured", "height"), ("codes", "coded", "code")):
            con.execute(f"""
                CREATE OR REPLACE VIEW {made} AS
                SELECT rid, {column}, sex, year, city, zip_area, first_initial, last_initial
                FROM {source} JOIN parts USING (rid)""")
