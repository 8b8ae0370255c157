"""Words from events as plain data: nothing in them can forge the layout of a prompt or speak to the model.

Two defences. Characters: what the layout is made of (line ends, colons, semicolons, brackets, markup) never comes
through, nor do control, bidi and zero-width characters. Meaning: a text that reads like an instruction, or like the
prompt's own words, is no text at all, and the event is named by its code or left out. Knows nothing of sections.
"""

from __future__ import annotations

import polars as pl

LONGEST = 80  # letters of one text

# What SNOMED says about a term and not in it.
_TAGS = (
    "disorder|finding|procedure|situation|regime/therapy|physical object|substance|organism|environment|product|event|"
    "observable entity|body structure|morphologic abnormality|person|occupation|qualifier value"
)
_ADDRESSES = r"\S+@\S+|\bhttps?:\S+|\bwww\.\S+"
_NUMBERS = (
    r"\b\d{3}-\d{2}-\d{4}\b|\(?\b\d{3}\)?[ .-]?\d{3}[ .-]\d{4}\b|\d{7,}|"  # SSN, telephone, any long number
    r"\b\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}\b"  # a full date
)
_SPEAKS = (
    r"\b(ignore|disregard|forget|override|bypass)\b.*\b(previous|prior|above|earlier|preceding|instructions?|rules?|"
    r"prompts?|everything|all)\b",
    r"\b(answer|respond|reply|output|return|print|say|write|state|choose|classify|label)\b.*\b(true|false|yes|match)\b",
    r"\b(system|user|assistant|developer) (prompt|message|role|instruction)s?\b",
    r"^(assistant|user|human|ai)\b.*\b(answer|you|true|false)\b",
    r"\byou (are|must|should|will|shall|have to)\b",
    r"\b(as|are) an? (ai|assistant|language model)\b",
    r"\bnew instructions?\b|\b(these|the following|following) instructions?\b",
    r"\b(same|different|one) (person|patient|individual)s?\b",
    r"\b(these|both|two) (records|histories|patients|persons)\b",
    r"\bhistory (1|2|a|b|one|two)\b|\bis (true|false)$|^(true|false)$",
    r"\b(start|end) of (turn|text|prompt)\b|\bim (start|end)\b|\bendof(text|turn)\b|\bbegin of text\b",
    r"[a-z]\p{Cyrillic}|\p{Cyrillic}[a-z]",  # letters that look alike, mixed within a word
)


def plain(text: pl.Expr) -> pl.Expr:
    """The text in lower case, without markup and numbers that could name somebody; null where nothing is left of it."""
    clean = _visible(text).str.to_lowercase()
    clean = clean.str.replace_all(_ADDRESSES, " ").str.replace_all(_NUMBERS, " ")
    clean = clean.str.replace_all(rf"\s*\((?:{_TAGS})\)", "").str.replace_all(r"\[[^\]]*\]", " ")
    clean = clean.str.replace_all(r"[^\p{L}\p{M}\p{N} ,.()/%+'&^-]", " ").str.replace_all(r"[,.()/%+'&^-]{3,}", " ")
    clean = clean.str.replace_all(r"\s+", " ").str.strip_chars(" ,.-")
    speaks = pl.any_horizontal(clean.str.contains(pattern) for pattern in _SPEAKS)
    cut = pl.when(clean.str.len_chars() > LONGEST).then(clean.str.head(LONGEST).str.replace(r" [^ ]*$", ""))
    binary = text.fill_null("").str.contains(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
    return pl.when(clean.str.contains(r"\p{L}") & ~speaks & ~binary).then(cut.otherwise(clean))


def code(text: pl.Expr) -> pl.Expr:
    """A code, where it is one and not words: digits, with a letter before or a check digit behind."""
    return pl.when(text.str.contains(r"^[A-Z]?\d{1,18}(-\d)?$")).then(text.str.to_lowercase())


def unit(text: pl.Expr) -> pl.Expr:
    """A unit in UCUM without its brackets and annotations: mm[Hg] as mmHg, {score} and what is no unit as nothing."""
    clean = _visible(text).str.replace_all(r"\{[^}]*\}", "").str.replace_all("*", "^", literal=True)
    clean = clean.str.replace_all(r"[\[\] ]", "").str.strip_chars(".-").str.strip_chars_end("/")
    shaped = clean.str.contains(r"^[A-Za-zμ0-9/%^.-]{1,12}$") & ~clean.str.contains(r"[A-Za-z]{5}|(?i)true|fals|yes")
    return pl.when(shaped).then(clean).otherwise(pl.lit(""))


def _visible(text: pl.Expr) -> pl.Expr:
    """One form of each character, and only those that can be seen."""
    shown = text.fill_null("").str.normalize("NFKC").str.replace_all(r"[\p{Cf}\p{Co}\p{Cn}]", "")
    return shown.str.replace_all(r"[\p{Cc}\p{Z}]+", " ")
