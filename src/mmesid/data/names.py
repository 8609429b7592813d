"""What others call the columns of the two tables."""

import difflib
import re
from collections.abc import Sequence

WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
KNOWN = {  # the likeliest first
    "user_id": (
        *("user", "uid", "visitor", "customer", "reviewer", "member", "client", "household", "buyer", "player"),
        *("account", "session"),
    ),
    "item_id": (
        *("item", "iid", "product", "sku", "movie", "book", "article", "track", "song", "artist", "business", "video"),
        *("recipe", "news", "parentasin", "asin", "isbn", "stock", "aid", "game", "app", "listing", "venue"),
    ),
}
ENDINGS = ("id", "key", "code", "no", "number", "md5", "hash", "uuid")  # of a column that holds ids
ALONE = {"user_id": ("email",), "item_id": ("reference",)}  # where there is nothing better
MOMENT = ("timestamp", "datetime", "time", "date", "ts", "dt", "dat", "when", "datum", "created", "at", "day")
LATER = (  # words of moments that are not those of the interaction
    *("update", "updated", "modified", "last", "birth", "birthday", "born", "release", "released", "expires", "expiry"),
    *("due", "paid", "shipped", "delivered", "registered", "joined", "signup", "upload", "read", "started"),
    "published",
)
LENGTH = (  # words of durations, counts and offsets
    *("duration", "offset", "zone", "timezone", "spent", "on", "watch", "play", "dwell", "elapsed", "frame", "times"),
    *("count", "length", "response", "remaining"),
)
BARE = 2  # rank of a name that is not made of `id`, `key` or the like
TYPO = 0.8  # likeness from which on a name may be a misspelled one


def words(name: str) -> list[str]:
    """The words of a column's name: `unixReviewTime` has three."""
    return [word.lower() for word in WORD.findall(name)]


def id_of(wanted: str, present: Sequence[str], table: str) -> str | None:
    """The present column that most likely holds the ids of a canonical name, by well-known names alone."""
    if ranked := ids_of(wanted, present, table):
        return ranked[0]
    joined = {"".join(words(name)): name for name in reversed(present)}
    near = difflib.get_close_matches("".join(words(wanted)), list(joined), n=1, cutoff=TYPO)
    return joined[near[0]] if near else None


def ids_of(wanted: str, present: Sequence[str], table: str) -> list[str]:
    """The present columns that may hold the ids of a canonical name, the likeliest first; a single one that says so."""
    ranked = sorted(
        ((rank, place) for place, name in enumerate(present) if (rank := _rank(wanted, name, table))),
        key=lambda pair: pair,
    )
    sure = ranked and ranked[0][0][0] < BARE
    return [present[place] for _, place in (ranked[:1] if sure else ranked)]


def moment_rank(name: str) -> int | None:
    """How much a name says that its column holds times: 0 for `timestamp`, 1 where one word does, None for none."""
    parts = words(name)
    joined = "".join(parts)
    if joined in MOMENT or difflib.SequenceMatcher(None, joined, "timestamp").ratio() >= TYPO:
        return 0
    return 1 if any(part in MOMENT for part in parts) or joined.endswith(("date", "time")) else None


def _rank(wanted: str, name: str, table: str) -> tuple[int, int, int] | None:
    """A smaller one for a likelier column."""
    parts = words(name)
    joined = "".join(parts)
    if not parts or wanted not in KNOWN:
        return None
    if joined == wanted.replace("_", ""):
        return 0, 0, 0
    for place, base in enumerate(KNOWN[wanted]):
        for number, ending in enumerate(ENDINGS):
            if joined == base + ending:
                return 1, number, place
        if joined == base:
            return BARE, place, 0
    for place, base in enumerate(KNOWN[wanted]):
        if parts[-1] == base or joined.endswith((f"{base}id", f"{base}key", f"{base}code")):
            return 3, place, 0
        if base in parts and parts[-1] == "id":
            return 4, place, 0
        if wanted == "user_id" and joined == f"{base}name":
            return 5, place, 0
    if joined in ALONE[wanted] or (table == "items" and wanted == "item_id" and joined in ("id", "handle")):
        return 6, 0, 0
    return None
