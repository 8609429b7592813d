"""How programs write that a cell holds nothing. In a column of words each may be a name as well."""

_LOWER = ("nan", "null", "none", "na", "n/a", "#n/a", "<na>", "undefined")
NO_VALUE = frozenset({form for word in _LOWER for form in (word, word.upper(), word.capitalize())} | {"NaN"})
