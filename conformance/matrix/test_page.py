"""The page says what was seen, to the letter. Runs after all cells (files are run in the order of their names)."""

import os

import page


def test_the_page_says_what_the_clients_told(told):
    missing = told.missing()
    assert not missing, f"the page is held against a whole run, and these cells were not seen: {missing}"
    text = page.PAGE.read_text()
    before, stands, after = page.split(text)
    seen = page.section(told)
    if os.environ.get("KEYCARD_UPDATE"):
        page.PAGE.write_text(before + seen + after)
        return
    assert stands == seen, "run KEYCARD_UPDATE=1 ./test matrix, and read what has changed"
