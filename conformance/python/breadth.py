"""How much a role covers, counted a second time: over the actions that there are, by the rules of Azure's documentation.

Roles are as they come over the wire, since the vendor's model of 2022-04-01 leaves their conditions out.
Source: Microsoft Learn, "Understand Azure role definitions"; that `/*/` also stands for one slash is from the built-in roles
themselves (specs/azure-semantics.md, 1.5).
"""

import collections
import functools
import pathlib
import re

OPERATIONS = pathlib.Path(__file__).parents[2] / "crates" / "domain" / "data" / "provider-operations.txt"
LISTS = {"C": ("actions", "notActions"), "D": ("dataActions", "notDataActions")}


def provider(action):
    return action.lower().split("/")[0]


@functools.cache
def expression(patterns):
    """One expression for a list of patterns; no pattern matches nothing."""
    meaning = {"/*/": "/(?:.*/)?", "*": ".*"}
    parts = [re.split(r"(/\*/|\*)", pattern.lower()) for pattern in patterns]
    return re.compile("|".join("".join(meaning.get(it) or re.escape(it) for it in each) for each in parts) or "(?!)")


def patterns(permission, name):
    return tuple(permission.get(name) or ())


def permissions(role):
    return [permission for permission in role["properties"]["permissions"] if not permission.get("condition")]


def permits(permission, plane, action):
    granted, taken = (expression(patterns(permission, name)) for name in LISTS[plane])
    return bool(granted.fullmatch(action)) and not taken.fullmatch(action)


def covers(role, plane, action):
    """Without a condition."""
    return any(permits(permission, plane, action.lower()) for permission in permissions(role))


class Roles:
    """The built-in roles, and every action that is known: of the listed providers, and what roles name without a `*`."""

    def __init__(self, roles):
        self.roles = roles
        self.universe = collections.defaultdict(set)
        lines = [line.split(" ", 1) for line in OPERATIONS.read_text().splitlines() if line[:2] in ("C ", "D ")]
        named = [
            (plane, pattern)
            for role in roles
            for permission in role["properties"]["permissions"]
            for plane, names in LISTS.items()
            for name in names
            for pattern in patterns(permission, name)
            if "*" not in pattern
        ]
        for plane, action in [*lines, *named]:
            self.universe[provider(action)].add((plane, action.lower()))
        self.breadths = {}

    def named(self, name):
        return next(role for role in self.roles if role["properties"]["roleName"] == name)

    def providers(self, role):
        lists = [names[0] for names in LISTS.values()]
        return {provider(it) for permission in permissions(role) for name in lists for it in patterns(permission, name)}

    def breadth(self, role):
        if role["name"] not in self.breadths:
            named = self.providers(role)
            concerned = self.universe if any("*" in each for each in named) else named & self.universe.keys()
            actions = (it for each in concerned for it in self.universe[each])
            self.breadths[role["name"]] = sum(covers(role, *it) for it in actions)
        return self.breadths[role["name"]]

    def smaller(self, breadth, action):
        """Roles that cover less, and among it something of the action's provider; those with conditions left out."""
        concerned = [
            role
            for role in self.roles
            if len(permissions(role)) == len(role["properties"]["permissions"])
            and any(each == provider(action) or "*" in each for each in self.providers(role))
        ]
        return [role for role in concerned if self.breadth(role) < breadth]
