"""The README's commands are the ones that CI runs, and its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEST_LINE = "python3 -m pip install -e '.[dev]' && python3 -m pytest"


def test_ci_runs_exactly_the_test_line_of_the_readme() -> None:
    assert f"\n{TEST_LINE}\n" in (ROOT / "README.md").read_text()
    assert f'\nbash -c "{TEST_LINE}"\n' in (ROOT / ".ci/run").read_text()


@pytest.mark.parametrize(
    "page", [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")], ids=lambda page: page.name
)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    text = re.sub(r"<!--.*?-->", "", page.read_text(), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)#:\s]+)\)", text)
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing
