"""The pages in order: what the code cites is there, and links lead to files."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NUMBER = r"\d+(?:\.\d+)*"
# docs/page.md 6.1.2, 6.1.3 and 6.1.4; a comment or docstring may break the line anywhere
CITATION = re.compile(rf"docs/([\w./-]+\.md)(?: ({NUMBER}(?:(?:, | and | to ){NUMBER})*))?")
HEADING = re.compile(rf"^#+ ({NUMBER}) ", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def pages():
    return [ROOT / "README.md", ROOT / "config" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def short(path):
    return path.relative_to(ROOT).as_posix()


def citations(text):
    """Yield (page, section or None) for each citation in a source file."""
    for page, numbers in CITATION.findall(re.sub(r"\s*\n\s*#?\s*", " ", text)):
        for number in re.findall(NUMBER, numbers) or [None]:
            yield page, number


def missing(text):
    """Return the citations of a source file that lead nowhere."""
    found = set()
    for page, number in citations(text):
        path = ROOT / "docs" / page
        sections = HEADING.findall(path.read_text(encoding="utf-8")) if path.is_file() else []
        if not path.is_file() or (number is not None and number not in sections):
            found.add(f"docs/{page} {number or ''}".strip())
    return sorted(found)


def broken(page):
    """Return the relative links of a page that lead to no file; code is not looked at."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = [target.split("#")[0] for target in LINK.findall(text) if not re.match(r"[a-z]+:", target)]
    return sorted({target for target in targets if target and not (page.parent / target).exists()})


@pytest.mark.parametrize("folder", ["src", "tests"])
def test_cited_sections_exist(folder):
    cited = 0
    for path in sorted((ROOT / folder).rglob("*.py")):
        if path == Path(__file__).resolve():
            continue
        text = path.read_text(encoding="utf-8")
        cited += len(list(citations(text)))
        assert not missing(text), f"{short(path)} cites what is not there: {missing(text)}"
    assert cited > 0


def test_a_wrong_citation_is_found():
    text = '"""See docs/mathematics.md 6.1.2,\n    6.1.99 and 6.3; docs/mathematics.md\n# 0.1, docs/nowhere.md."""'
    assert missing(text) == ["docs/mathematics.md 0.1", "docs/mathematics.md 6.1.99", "docs/nowhere.md"]


@pytest.mark.parametrize("page", pages(), ids=short)
def test_relative_links_lead_to_files(page):
    assert not broken(page), f"{short(page)}: no such file: {broken(page)}"


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("[a](page.md#part) [b](nowhere.md) [c](https://example.org) `[d](code.md)`", encoding="utf-8")
    assert broken(page) == ["nowhere.md"]


def test_sections_are_numbered_once():
    sections = HEADING.findall((ROOT / "docs" / "mathematics.md").read_text(encoding="utf-8"))
    assert len(sections) == len(set(sections)) > 20


def anchors(page):
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def astray(page):
    """Return the links of a page whose #anchor is no heading of the page that they lead to."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    pairs = [link.partition("#")[::2] for link in LINK.findall(text) if "#" in link and not re.match(r"[a-z]+:", link)]
    return sorted(f"{to}#{part}" for to, part in pairs if part not in anchors(page.parent / to if to else page))


@pytest.mark.parametrize("page", pages(), ids=short)
def test_links_into_pages_lead_to_headings(page):
    assert not astray(page), f"{short(page)}: no such heading: {astray(page)}"


def test_a_link_to_no_heading_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("## What an `if` costs\n\n[a](#what-an-if-costs) [b](page.md#nothing)", encoding="utf-8")
    assert astray(page) == ["page.md#nothing"]


LONGEST = {"docs/mathematics.md": 5000, "docs/own-data.md": 2000, "docs/file-formats.md": 2000}  # words; others 900
ALL_PAGES = 24000


def words(page):
    return len(page.read_text(encoding="utf-8").split())


def by_hand():
    """Return the pages that somebody writes; claims tables and the list of keys are generated."""
    return [page for page in pages() if "claims" not in short(page) and short(page) != "config/README.md"]


@pytest.mark.parametrize("page", by_hand(), ids=short)
def test_pages_are_short(page):
    assert words(page) <= LONGEST.get(short(page), 900), f"{short(page)}: {words(page)} words"


def test_all_pages_together_are_short():
    assert sum(words(page) for page in by_hand() if short(page) != "README.md") <= ALL_PAGES
