"""The documents say what is: generated pages are fresh, links lead somewhere, commands exist."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from shim.cli.table import VERBS
from shim.errors import InputError
from shim.model.event import REASONS
from shim.model.status import PHASES

REPO = Path(__file__).resolve().parents[2]
PAGES = sorted([*REPO.glob("*.md"), *(REPO / "docs").rglob("*.md")])
NEED_NOT_BE = {"shim/shim-executor", "shim/_core.abi3.so"}  # built, never committed


@pytest.mark.parametrize("page", ["cli", "plan"])
def test_generated_pages_are_fresh(page: str) -> None:
    """Run scripts/gen-docs when this fails."""
    where = REPO / f"scripts/lib/{page}_reference.py"
    spec = importlib.util.spec_from_file_location(where.stem, where)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (REPO / f"docs/reference/{page}.md").read_text() == module.render()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPO)))
def test_links_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPO)))
def test_named_files_exist(page: Path) -> None:
    """Files of the checkout that a page names in backquotes or in running text."""
    pattern = r"(?<![\w/.-])(?:scripts|docs|csrc|examples|shim)/[\w./-]*\w"
    missing = [
        name
        for name in set(re.findall(pattern, page.read_text()))
        if not (REPO / name).exists() and name not in NEED_NOT_BE
    ]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPO)))
def test_commands_in_examples_are_verbs_that_work(page: Path) -> None:
    """A line in an indented block or a console block that starts with `shim` names a live verb."""
    pattern = r"^(?:    |\$ |# |sudo )+shim (?:--root \S+ )?([a-z]+)\b"
    verbs = set(re.findall(pattern, page.read_text(), re.MULTILINE))
    assert {verb for verb in verbs if verb not in VERBS or VERBS[verb].answer} == set()


def test_reference_lists_every_reason_and_phase() -> None:
    events = (REPO / "docs/reference/events.md").read_text()
    assert [name for name in REASONS if f"`{name}`" not in events] == []
    lifecycle = (REPO / "docs/reference/lifecycle.md").read_text()
    assert [name for name in PHASES if f"`{name}`" not in lifecycle] == []


def test_examples_of_lifecycle_files_are_accepted() -> None:
    """Every ```yaml block of these pages is read as it would be at create."""
    from shim.bundle.sources import from_file

    pages = [REPO / "docs/reference/lifecycle.md", REPO / "docs/tutorial.md"]
    blocks = [
        block
        for page in pages
        for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
    ]
    assert len(blocks) >= 3
    example = REPO / "examples/nginx/lifecycle.yaml"
    assert from_file(str(example)).pre_stop is not None
    for number, block in enumerate(blocks):
        path = REPO / ".logs" / f"example-{number}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(block)
        try:
            from_file(str(path))
        except InputError as error:
            pytest.fail(f"{error}\n{block}")
        finally:
            path.unlink()
