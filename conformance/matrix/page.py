"""The part of docs/compatibility.md that is made of what the clients told, and nothing else."""

import collections
import pathlib

from support import ASKS, CLIENTS, IGNORES, REFUSES, SELECTORS, SOURCES, SUPPORT, cells, does

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "compatibility.md"
BEGIN = "<!-- Made by a run of the clients: KEYCARD_UPDATE=1 ./test matrix -->"
END = "<!-- Here ends what was made by a run. -->"


class Told:
    """What was seen of each cell."""

    def __init__(self):
        self.tokens, self.refusing, self.ignoring = set(), {}, set()
        self.not_attached_as, self.no_identity_as = {}, {}

    def token(self, *cell):
        self.tokens.add(cell)

    def not_attached(self, source, client, selector, name):
        self.not_attached_as[source, client, selector] = name

    def no_identity(self, source, client, selector, name):
        self.no_identity_as[source, client, selector] = name

    def ignored(self, *cell):
        self.ignoring.add(cell)

    def client_refuses(self, source, client, selector, name):
        self.refusing[source, client, selector] = name

    def missing(self):
        """The cells of which something was not seen: their test failed or did not run."""
        seen = self.tokens & set(self.not_attached_as) & set(self.no_identity_as)
        expected = ((ASKS, seen), (REFUSES, self.refusing), (IGNORES, self.ignoring))
        return [cell for doing, cells_seen in expected for cell in cells(doing) if cell not in cells_seen]

    def shown(self, cell):
        """What the page says of it."""
        if cell in self.refusing:
            return "client refuses"
        if cell in self.ignoring:
            return "ignored"
        return "works" if cell in self.tokens and does(*cell) == ASKS else "–"


def section(told):
    return "\n\n".join([BEGIN, *(part(told, source) for source in SOURCES.values()), END])


def part(told, source):
    head = ["client", *(selector.replace("_", " ") for selector in SELECTORS), "not attached", "no identity"]
    rows = [row(told, source.name, client) for client in CLIENTS if client in SUPPORT[source.name]]
    others = set(CLIENTS) - set(SUPPORT[source.name])
    lines = [f"### {source.title}", "", line(head), line(["---"] * len(head)), *map(line, rows)]
    if others:
        lines += ["", "The other clients have no way to ask here."]
    return "\n".join(lines)


def row(told, source, client):
    shown = [told.shown((source, client, selector)) for selector in SELECTORS]
    refusals = [names(found, source, client) for found in (told.not_attached_as, told.no_identity_as)]
    return [str(CLIENTS[client]), *shown, *refusals]


def names(found, source, client):
    """By which names a client refuses, the most frequent first."""
    counted = collections.Counter(name for (where, who, _), name in sorted(found.items()) if (where, who) == (source, client))
    return ", ".join(f"`{name}`" for name, _ in counted.most_common()) or "–"


def line(words):
    return f"| {' | '.join(words)} |"


def split(text):
    """What stands on the page before the section, the section, and what stands after it."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin and end, f"{PAGE.name} has lost the lines between which the matrix stands"
    return before, begin + rest[: rest.index(END)] + end, after
