"""The pages in a real browser, cut off from any network but the read side's own address."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import programme_rows
import pytest
from serving import read_side

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

ADDRESSES = ("/", "/pilots/harbor", "/pilots/new", "/pilots/harbor/vehicles/truck-01", "/definitions", "/docs")
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


@dataclass
class Seen:
    """What went wrong in the browser, and what it asked for."""

    wrong: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def address(module_database: Any) -> Iterator[str]:
    with module_database.connect() as owner:
        programme_rows.write(owner)
    with read_side(module_database.url("beachhead_reader")) as address:
        yield address


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    home = str(tmp_path_factory.mktemp("browser"))  # crash reports and settings go there
    environment = {**os.environ, "HOME": home, "XDG_CONFIG_HOME": home, "XDG_CACHE_HOME": home}
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], env=environment)
        yield browser
        browser.close()


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def open_page(browser: Any, address: str, seen: Seen) -> Iterator[Any]:
    """Open an address of the read side at a size; requests to anywhere else are cut off and counted."""
    contexts = []

    def open_page(path: str, size: dict[str, int]) -> Any:
        context = browser.new_context(viewport=size, locale="en-GB")
        contexts.append(context)
        context.route(re.compile(f"^(?!{re.escape(address)}/|data:)"), lambda route: route.abort())
        page = context.new_page()
        page.on("request", lambda request: seen.asked.append(request.url))
        page.on("requestfailed", lambda request: seen.wrong.append(f"failed: {request.url}"))
        page.on("response", lambda answer: answer.ok or seen.wrong.append(f"{answer.status}: {answer.url}"))
        page.on("console", lambda message: seen.wrong.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: seen.wrong.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (seen.wrong.append("dialog"), dialog.dismiss()))
        page.goto(address + path)
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("path", ADDRESSES)
def test_pages_open_alone_and_fit(open_page: Any, seen: Seen, address: str, path: str, size: dict[str, int]) -> None:
    page = open_page(path, size)
    assert seen.wrong == []
    assert all(url.startswith((address, "data:")) for url in seen.asked)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    assert page.locator("h1").count() == 1
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0 && i.hasAttribute('alt'))")


def test_a_page_that_reaches_outside_would_be_noticed(open_page: Any, seen: Seen) -> None:
    page = open_page("/", DESK)
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=\"http://192.0.2.1/x.png\">')")
    page.wait_for_timeout(100)
    assert seen.wrong != []


def test_every_headline_figure_is_complete(open_page: Any) -> None:
    page = open_page("/pilots/harbor", PHONE)
    tiles = page.locator("#headline ~ .figures .figure")
    assert tiles.count() == 8
    for tile in tiles.all():
        text = tile.inner_text()
        assert re.search(r"5–8 Jan 2026 · data to 8 Jan 2026, 14:30", text)
        assert re.search(r"(measured|estimated|mixed) · coverage \d+ %|not measured · coverage", text)
        assert re.search(r"\d[\d,.]* ?\s(km|kWh|kWh/km|%|kg|L)\b|\d[\d,.]* ?\s%|unknown", text)
        assert tile.locator("a.api").get_attribute("href").startswith("/v1/pilots/harbor/summary?from=2026-01-05")


def test_names_and_values_are_in_sight_on_a_phone(open_page: Any) -> None:
    page = open_page("/pilots/harbor", PHONE)
    for label in ("All figures", "Vehicles"):
        table = page.locator(f"[aria-label='{label}']")
        seen_to = table.evaluate("t => { const s = t.closest('.scroller').getBoundingClientRect(); return s.right }")
        row = table.locator("tbody tr").first
        assert row.locator("td").first.bounding_box()["width"] > 0
        assert row.locator("td").first.evaluate("cell => cell.getBoundingClientRect().right") <= seen_to


def test_doubt_and_ignorance_are_told(open_page: Any) -> None:
    page = open_page("/pilots/harbor", DESK)
    assert "Less than 80 % of the activity was observed for Energy used" in page.locator(
        ".banner"
    ).inner_text().replace("\xa0", " ")
    page = open_page("/pilots/twizy", DESK)
    assert "no grid factor is known for region MA" in page.locator("[data-slug^=co2e_]").inner_text()
    assert page.locator("[data-slug^=co2e_] .value").inner_text() == "unknown"


def test_what_was_never_measured_is_named_and_takes_no_line(open_page: Any) -> None:
    page = open_page("/pilots/harbor", DESK)
    table = page.locator("[aria-label='All figures']")
    assert table.locator("tr", has_text="Energy used").count() > 0
    assert table.locator("tr", has_text="Hydrogen used").count() == 0
    assert "Hydrogen used" in page.locator("p", has_text="Not measured here:").inner_text()


def test_miles_beside_kilometres_and_nautical_miles_for_ferries(open_page: Any) -> None:
    distance = "#headline ~ .figures [data-slug=distance_km]"
    efficiency = open_page("/pilots/harbor", DESK).locator("#headline ~ .figures [data-slug=energy_per_km_kwh]")
    assert "2.29 kWh/mi" in efficiency.inner_text()
    assert "16.4 mi/DGE" in efficiency.inner_text()  # 37.64 / (1.425 x 1.609344)
    assert "746 mi" in open_page("/pilots/harbor", DESK).locator(distance).inner_text()
    assert "216 nmi" in open_page("/pilots/ferries", DESK).locator(distance).inner_text()


def test_a_phone_gets_the_narrow_drawing(open_page: Any) -> None:
    for size, wide in ((PHONE, False), (DESK, True)):
        page = open_page("/pilots/harbor", size)
        sources = page.evaluate("[...document.querySelectorAll('.chart img')].map(i => i.currentSrc)")
        assert len(sources) == 3
        assert all(("width=narrow" not in source) is wide for source in sources)


def test_another_period_is_picked_with_a_plain_form(open_page: Any) -> None:
    page = open_page("/pilots/harbor", DESK)
    page.fill("input[name=from]", "2026-01-06")
    page.fill("input[name=to]", "2026-01-07")
    page.click("button")
    page.wait_for_url("**?from=*")
    assert page.url.endswith("/pilots/harbor?from=2026-01-06&to=2026-01-07")
    assert "6–7 Jan 2026" in page.locator(".lead").inner_text()
    assert page.locator("#headline ~ .figures [data-slug=energy_used_kwh] .value").inner_text() == "540.0 kWh"


def test_one_walks_from_the_programme_to_a_vehicle(open_page: Any, seen: Seen) -> None:
    page = open_page("/", DESK)
    page.click("text=Harbor drayage >> nth=0")
    page.click("table >> text=<img src=x")
    page.wait_for_url("**/vehicles/**")
    assert page.locator("h1").inner_text() == programme_rows.HOSTILE
    assert "25.5" in page.locator("#trips ~ .scroller").inner_text()
    assert seen.wrong == []
