"""Pages in headless Chromium: on a telephone, in both schemes, on paper, by keyboard, and for a screen reader.

One test, so that the browser is started once.
"""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from msgspec.structs import replace

from bento.model.stop import HookResult, ProcessEnd, StopReport
from bento.pages.check_page import check_page
from bento.pages.stop_page import stop_page

from support.browser import Browser, browser
from support.reports import CHECKED, WRAPPER

WIDTHS = (360, 1280)

CONTRAST = """
(() => {
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const luminance = rgb => {
    const [r, g, b] = rgb.slice(0, 3).map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = element => {
    for (let at = element; at; at = at.parentElement) {
      const rgb = parse(getComputedStyle(at).backgroundColor);
      if (rgb.length === 3 || rgb[3] > 0) return rgb;
    }
    return [255, 255, 255];
  };
  const worst = {ratio: 99, text: '', count: 0};
  for (const element of document.body.querySelectorAll('*')) {
    const isText = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (!isText || !element.getClientRects().length || element.closest('title, desc')) continue;
    const style = getComputedStyle(element);
    const isDrawn = element instanceof SVGElement;
    const one = luminance(parse(isDrawn ? style.fill : style.color)), other = luminance(ground(element));
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    worst.count += 1;
    if (ratio < worst.ratio) Object.assign(worst, {ratio, text: element.textContent.slice(0, 60)});
  }
  return worst;
})()
"""
FOCUSABLE = "[...document.querySelectorAll('a[href], summary, [tabindex=\"0\"]')].filter(e => e.checkVisibility())"
FOCUSED = f"""
(() => {{
  const at = document.activeElement, style = getComputedStyle(at);
  return [{FOCUSABLE}.indexOf(at), style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2];
}})()
"""


def hostile() -> StopReport:
    """Many processes, and names that a stranger has chosen."""
    names = ["<img src=x onerror=alert(1)>", "x" * 3000, "\u202eevil", "漢字" * 60, "a" * 40 + " " + "b" * 400]
    processes = tuple(
        ProcessEnd(
            pid=100 + number,
            ppid=99 + number,
            comm=names[number % len(names)],
            how="exited",
            code=0,
            receives="handled",
            waited=names[number % len(names)],
            ended_s=0.3,
        )
        for number in range(40)
    )
    hook = HookResult(when="pre-stop", kind="host", command=names[1], start_s=0.0, duration_s=0.1, error=names[0])
    return replace(WRAPPER, name=names[1], cause=names[0], notes=tuple(names), hooks=(hook,), processes=processes)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_pages_are_for_every_reader(tmp_path: Path) -> None:
    pages = {
        "wrapper": stop_page(WRAPPER),
        "hostile": stop_page(hostile()),
        "check": check_page(CHECKED),
        "checks": check_page(CHECKED, CHECKED),
    }
    for name, text in pages.items():
        (tmp_path / f"{name}.html").write_text(text, encoding="utf-8")
    with browser(tmp_path) as shown:
        found = {name: list(faults(shown, tmp_path / f"{name}.html")) for name in pages}
    assert found == {name: [] for name in pages}


def faults(shown: Browser, page: Path):
    """Yield what is wrong with a page."""
    shown.look(width=1280)
    shown.show(page)
    yield from shown.complaints()
    for width in WIDTHS:
        for scheme in ("light", "dark"):
            shown.look(width=width, scheme=scheme)
            where = f"{width} {scheme}"
            worst = shown.evaluate(CONTRAST)
            if worst["ratio"] < 4.5 or worst["count"] < 30:
                yield where, worst
        wide = shown.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wide > 0:
            yield width, "scrolls sideways", wide
        pictures = shown.evaluate(
            "[...document.querySelectorAll('figure')].map(one =>"
            " [...one.querySelectorAll('svg')].filter(e => e.getClientRects().length).length)"
        )
        if set(pictures) != {1}:
            yield width, "pictures", pictures
        yield from readable(shown, width)
    yield from by_keyboard(shown)
    yield from on_paper(shown)


def readable(shown: Browser, width: int):
    """Yield what a screen reader would miss."""
    nodes = shown.call("Accessibility.getFullAXTree")["nodes"]
    seen = [
        (
            node["role"]["value"],
            node.get("name", {}).get("value", ""),
            {one["name"]: one["value"].get("value") for one in node.get("properties", ())},
        )
        for node in nodes
        if not node["ignored"]
    ]
    ranks = [properties["level"] for role, _, properties in seen if role == "heading"]
    if ranks[:1] != [1] or ranks.count(1) != 1 or any(after > before + 1 for before, after in pairwise(ranks)):
        yield width, "headings", ranks
    wanted = {"heading", "image", "region", "link", "DisclosureTriangle"}
    missing = wanted - {"link"} - {role for role, _, _ in seen}
    if missing:
        yield width, "not there", sorted(missing)
    for role, name, properties in seen:
        if role in wanted and not name.strip():
            yield width, "has no name", role
        if role == "image" and not properties.get("describedby") and "Timeline of" not in name:
            yield width, "image", name
    if shown.evaluate("document.documentElement.lang") != "en":
        yield "language"


def by_keyboard(shown: Browser):
    """Yield what the Tab key does not reach in the order of the page, or does not show."""
    count = shown.evaluate(f"{FOCUSABLE}.length")
    for number in range(count):
        shown.press_tab()
        where, is_visible = shown.evaluate(FOCUSED)
        if where != number or not is_visible:
            yield "focus", number, where, is_visible
            return
    if count < 5:
        yield "focus", count


def on_paper(shown: Browser):
    """Yield what is lost on paper: light whatever the scheme, and everything opened."""
    shown.look(width=800, scheme="dark", media="print")
    ground = shown.evaluate("getComputedStyle(document.querySelector('.verdict')).getPropertyValue('--ground').trim()")
    if ground != "#ffffff":
        yield "paper", ground
    hidden = shown.evaluate("[...document.querySelectorAll('details dl')].filter(e => !e.checkVisibility()).length")
    if hidden:
        yield "paper", "closed", hidden
