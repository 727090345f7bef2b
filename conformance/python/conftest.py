"""The fixtures of fixtures.py, which other folders use too."""

from fixtures import *  # noqa: F403
