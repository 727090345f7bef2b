"""The tables of docs/compatibility.md that say how each client bears each fault: read to be held against a run, and written
from one.
"""

import dataclasses
import re

from profiles import BY_CHANCE, CLIENTS, PROFILES
from support import CLIENTS as KNOWN
from support import SOURCES

BEGIN = "<!-- Made by a run: KEYCARD_UPDATE=1 ./test --long recovery -->"
END = "<!-- Here ends what was made by a run of recovery. -->"

# A time may be so much longer or shorter than the page says: machines are busy, and clients wait by chance.
SECONDS_BESIDE, SHARE_BESIDE = 3, 0.6


@dataclasses.dataclass(frozen=True)
class Said:
    """What a cell says."""

    seconds: int
    refusal: str | None
    is_by_chance: bool = False

    def __str__(self):
        if self.is_by_chance:
            return f"about {self.seconds} s: by chance a token or `{self.refusal}`"
        after = "at once" if self.seconds == 0 else f"after {self.seconds} s"
        return after if self.refusal is None else f"gives up {after}: `{self.refusal}`"

    def is_of(self, outcome):
        """Whether the page may say this of what was seen."""
        beside = max(SECONDS_BESIDE, SHARE_BESIDE * self.seconds)
        is_it = self.refusal == outcome.refusal or (self.is_by_chance and outcome.refusal is None)
        return is_it and abs(self.seconds - outcome.seconds) <= beside


def said(key, outcome):
    """What the page says of the trial: source, client and the profile's name."""
    if key in BY_CHANCE:
        return Said(int(round(outcome.seconds, -1)), BY_CHANCE[key], is_by_chance=True)
    return Said(round(outcome.seconds), outcome.refusal)


def parse(cell):
    if by_chance := re.fullmatch(r"about (\d+) s: by chance a token or `([^`]+)`", cell):
        return Said(int(by_chance[1]), by_chance[2], is_by_chance=True)
    found = re.fullmatch(r"(?:gives up )?(?:at once|after (\d+) s)(?:: `([^`]+)`)?", cell)
    assert found, f"a cell says {cell!r}"
    return Said(int(found[1] or 0), found[2])


def profiles_of(source):
    return [profile for profile in PROFILES if source in profile.sources]


def read(text):
    """What the page says, by source, client and the profile's name."""
    section = text.partition(BEGIN)[2].partition(END)[0]
    cells = {}
    for part in section.split("### ")[1:]:
        title, _, table = part.partition("\n")
        source = next(name for name, each in SOURCES.items() if f"{each.title}: recovery" == title)
        rows = [line.strip("| \n").split(" | ") for line in table.splitlines() if line.startswith("|")][2:]
        for client, row in zip(CLIENTS, rows, strict=True):
            assert row[0] == str(KNOWN[client]), row
            for profile, cell in zip(profiles_of(source), row[1:], strict=True):
                cells[source, client, profile.name] = parse(cell)
    return cells


def write(page, cells):
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin and end, f"{page.name} has lost the lines between which the tables of recovery stand"
    page.write_text(before + section(cells) + after)


def section(cells):
    return "\n\n".join([BEGIN, *(part(cells, source) for source in ("imds", "app-service")), END])


def part(cells, source):
    profiles = profiles_of(source)
    head = ["client", *(profile.title for profile in profiles)]
    rows = [
        [str(KNOWN[client]), *(str(cells[source, client, profile.name]) for profile in profiles)] for client in CLIENTS
    ]
    lines = [f"| {' | '.join(words)} |" for words in (head, ["---"] * len(head), *rows)]
    return "\n".join([f"### {SOURCES[source].title}: recovery", "", *lines])
