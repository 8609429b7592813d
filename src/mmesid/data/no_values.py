"""How programs write that a cell holds nothing. In a column of words each may be a name as well."""

_LOWER = ("nan", "null", "none", "na", "n/a", "#n/a", "<na>", "undefined")
_EXACT = (  # of pandas' times, of Google Analytics, of programs for databases, and a spreadsheet's faults
    *("NaN", "NaT", "(not set)", "(null)", "(none)", "[null]", "[NULL]", "<null>"),
    *("#REF!", "#NAME?", "#VALUE!", "#DIV/0!", "#NUM!", "#NULL!"),
)
NO_VALUE = frozenset({form for word in _LOWER for form in (word, word.upper(), word.capitalize())} | {*_EXACT})
