"""The console's files: found, named by their digest, and none that could run what a model wrote."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from console import site
from domain.errors import ConfigError

SCRIPTS = sorted(site.FOLDER.rglob("*.js"))
SHEETS = sorted(site.FOLDER.rglob("*.css"))


def written(folder: Path, files: dict[str, str]) -> site.Site:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return site.read(folder)


FILES = {
    "index.html": '<link href="assets/{digest}/style.css">{preloads}',
    "main.js": 'import { a } from "./page/a.js";\nconst b = () => import("./b.js");',
    "page/a.js": 'import {\n  c,\n} from "../words/c.js";',
    "words/c.js": "export const c = 1;",
    "b.js": "export const b = 1;",
    "style/base.css": "@layer base;",
    "style/more.css": "p { margin: 0 }",
}


def test_the_page_announces_what_is_loaded_first_and_nothing_else(tmp_path: Path) -> None:
    found = written(tmp_path, FILES)
    page = found.page.body.decode()
    assert re.findall(rf"assets/{found.digest}/([\w/.]+)", page) == ["style.css", "page/a.js", "words/c.js"]


def test_the_sheets_become_one_in_the_order_of_their_names(tmp_path: Path) -> None:
    assert written(tmp_path, FILES).assets["style.css"].body == b"@layer base;\np { margin: 0 }"


def test_every_change_of_any_file_changes_every_address(tmp_path: Path) -> None:
    before = written(tmp_path / "a", FILES).digest
    for name in FILES.keys() - {"index.html"}:
        changed = written(tmp_path / name.replace("/", "-"), {**FILES, name: FILES[name] + " "})
        assert changed.digest != before, name


def test_a_console_that_is_not_all_there_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="install Pointsman again"):
        written(tmp_path, {"index.html": ""})


def test_the_installed_console_names_only_files_that_are_there() -> None:
    for path in SCRIPTS:
        for wanted in re.findall(r"""(?:from\s+|import\()"(\.[^"]+)\"""", path.read_text(encoding="utf-8")):
            if not path.read_text(encoding="utf-8").count(f'@param {{import("{wanted}")'):
                assert (path.parent / wanted).resolve().is_file(), f"{path.name} imports {wanted}"


FORBIDDEN = {
    "markup from text": r"\b(?:inner|outer)HTML\b|insertAdjacentHTML|document\.write|DOMParser|setHTML",
    "text as a program": r"\beval\s*\(|new\s+Function\b|set(?:Timeout|Interval)\(\s*[\"'`]",
    "another host": r"https?://(?!www\.w3\.org/)",
    "styles within": r"setAttribute\(\s*[\"']style",
}


@pytest.mark.parametrize("why", FORBIDDEN)
def test_no_script_makes_markup_or_programs_of_text(why: str) -> None:
    found = [
        path.relative_to(site.FOLDER)
        for path in SCRIPTS
        if re.search(FORBIDDEN[why], path.read_text(encoding="utf-8"))
    ]
    assert not found


def test_the_page_has_nothing_that_runs_within_it() -> None:
    page = (site.FOLDER / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"\son\w+\s*=|\sstyle\s*=|<style|javascript:|https?://", page)
    assert not re.search(r"<script(?![^>]*\ssrc=)", page)


def test_the_sheets_load_nothing() -> None:
    assert not [path.name for path in SHEETS if re.search(r"url\(|@import", path.read_text(encoding="utf-8"))]
