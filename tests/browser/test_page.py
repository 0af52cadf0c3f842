"""The page in a browser, from a file's address: what is clicked, seen and asked for."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.browser.showing import RATE, START, STOP, number_in
from tests.report.synthetic_results import FRAMES, HOSTILE_MODEL

LEFT, RIGHT = 58, 14
"""Pixels beside the plot."""


class Viewer:
    """The page as its reader has it."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def one(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def all(self, selector: str) -> list[Any]:
        return list(self.driver.find_elements("css selector", selector))

    def ask(self, script: str) -> Any:
        return self.driver.execute_script(f"return {script}")

    def until(self, holds: Callable[[], Any]) -> Any:
        end = time.monotonic() + 20
        while not (found := holds()):
            assert time.monotonic() < end, "it did not come to hold"
            time.sleep(0.05)
        return found

    def press(self, *keys: str) -> None:
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def choose(self, identifier: str, text: str) -> None:
        from selenium.webdriver.support.select import Select

        Select(self.one(f"#{identifier}")).select_by_visible_text(text)

    @property
    def frame(self) -> int:
        return int(self.one("#frame-number").text)

    @property
    def times(self) -> list[float]:
        return list(self.ask("[...document.querySelectorAll('video')].map((v) => v.currentTime)"))

    def settled(self) -> bool:
        videos = "[...document.querySelectorAll('video')]"
        return bool(self.ask(f"{videos}.every((v) => v.readyState > 1 && !v.seeking)"))

    def apart(self) -> float:
        """How far the videos are from one another, in frames."""
        times = self.times
        return (max(times) - min(times)) * RATE

    def numbers(self) -> list[int]:
        """The numbers that the three pictures show."""
        shots = [Image.open(io.BytesIO(s.screenshot_as_png)) for s in self.all(".screen")]
        return [number_in(shot) for shot in shots]

    def pictures_show(self, frame: int) -> None:
        """All three videos come to show a frame, and no other after it."""
        self.until(self.settled)
        self.until(lambda: self.numbers() == [frame] * 3)
        assert self.apart() <= 0.5
        assert all(abs(START + each * RATE - frame - 0.5) < 0.5 for each in self.times)


@pytest.fixture
def viewer(driver: Any, page: Path) -> Viewer:
    driver.get_log("browser")
    driver.get_log("performance")
    driver.get(page.as_uri())
    shown = Viewer(driver)
    shown.until(shown.settled)
    shown.until(lambda: shown.all(".panel-score:not(:empty)"))
    return shown


def click_on_frame(viewer: Viewer, frame: int) -> None:
    from selenium.webdriver import ActionChains

    plot = viewer.one("#plot")
    width = plot.rect["width"]
    x = LEFT + (frame + 0.5) / 100 * (width - LEFT - RIGHT)
    # Offsets are from the middle.
    move = ActionChains(viewer.driver).move_to_element_with_offset(plot, round(x - width / 2), 0)
    move.click().perform()


def test_a_click_on_the_timeline_goes_there_in_all_three(viewer: Viewer, tmp_path: Path) -> None:
    viewer.pictures_show(START)
    click_on_frame(viewer, 42)
    assert viewer.frame == 42
    viewer.pictures_show(42)
    assert "0:04.200" in viewer.one("#frame-place").text
    assert "shot 3 of 5" in viewer.one("#frame-place").text
    # The scores of a film are a ramp up to each model's own number.
    assert viewer.one(".panel:nth-child(2) .panel-score").text.endswith("0.042")
    picture = tmp_path / "page.png"
    assert viewer.driver.save_screenshot(str(picture))
    with Image.open(picture) as shown:
        assert len(shown.convert("RGB").getcolors(1 << 24) or []) > 50


def test_keys_step_to_the_very_frame(viewer: Viewer) -> None:
    from selenium.webdriver.common.keys import Keys

    steps = [(".", 5), (Keys.ARROW_RIGHT, 6), ("]", 20), (",", 19), (Keys.ARROW_LEFT, 18)]
    for key, frame in steps:
        viewer.press(key)
        assert viewer.frame == frame
        viewer.pictures_show(frame)
    viewer.press(Keys.END)
    assert viewer.frame == 99
    viewer.press(Keys.HOME)
    assert viewer.frame == 0
    viewer.press(*["."] * START)
    viewer.pictures_show(START)
    viewer.one("#scrubber").send_keys(Keys.ARROW_RIGHT)
    viewer.pictures_show(5)
    viewer.until(
        lambda: (
            viewer.one("#announced").get_attribute("textContent")
            == ("Frame 5 at 0:00.500, shot 1 of 5")
        )
    )


def test_many_wishes_at_once_end_at_the_last(viewer: Viewer) -> None:
    viewer.press(*(["."] * 30), *([","] * 7))
    viewer.pictures_show(START + 23)


def test_playing_holds_the_videos_together_and_stops_on_one_frame(viewer: Viewer) -> None:
    from selenium.webdriver.common.keys import Keys

    # Two of the three are put elsewhere behind the page's back, as a slow start would.
    viewer.press(" ")
    viewer.until(lambda: viewer.frame > START + 2)
    viewer.ask(
        "[...document.querySelectorAll('video')].slice(1)"
        ".map((v, i) => { v.currentTime += i ? 0.3 : -0.2; })"
    )
    viewer.until(lambda: viewer.apart() <= 0.5)
    assert sorted(viewer.apart() for _ in range(5))[2] <= 0.5
    assert viewer.one("#play").text == "Pause"
    viewer.one("#play").click()
    frame = viewer.frame
    assert START + 2 < frame < STOP
    viewer.pictures_show(frame)
    viewer.press(" ")
    viewer.until(lambda: viewer.one("#play").text == "Play")
    viewer.pictures_show(STOP - 1)
    # It plays from where the videos begin, whether the frame is beyond their end or before it.
    for key in (Keys.END, Keys.HOME):
        viewer.press(key, " ")
        viewer.until(lambda: START < viewer.frame < STOP - 1)
        viewer.press(" ")


def test_beyond_the_videos_the_kept_pictures_stand_in(viewer: Viewer) -> None:
    from selenium.webdriver.common.keys import Keys

    viewer.press(Keys.END)
    assert "The videos have frames 4 to 93; " in viewer.one("#notice").text
    badges = [badge.text for badge in viewer.all(".badge")]
    assert badges == [f"picture of frame {FRAMES[-1]}"] * 3
    viewer.until(
        lambda: viewer.ask(
            "[...document.querySelectorAll('.screen img')].every((i) => i.naturalWidth)"
        )
    )
    viewer.press(*([","] * 12))
    viewer.pictures_show(87)
    assert not viewer.one("#notice").is_displayed()
    viewer.press(Keys.HOME)
    assert "The videos have frames 4 to 93; " in viewer.one("#notice").text
    assert [badge.text for badge in viewer.all(".badge")] == [f"picture of frame {FRAMES[0]}"] * 3


def test_differences_are_four_times_as_strong_and_of_the_same_frame(viewer: Viewer) -> None:
    click_on_frame(viewer, 30)
    viewer.pictures_show(30)
    viewer.press("d")
    assert viewer.one("#difference").get_attribute("aria-pressed") == "true"

    def differences() -> list[tuple[int, int]]:
        found = []
        for screen in viewer.all(".screen")[1:]:
            shot = Image.open(io.BytesIO(screen.screenshot_as_png)).convert("L")
            bars = shot.getpixel((shot.width * 3 // 16, shot.height // 5))
            rest = shot.getpixel((shot.width // 2, shot.height * 2 // 3))
            assert isinstance(bars, int) and isinstance(rest, int)
            found.append((bars, rest))
        return found

    # `sharp` is of shade 150 and the hostile one of 170, where the film is of 200.
    for frame in (30, 31, 77):
        click_on_frame(viewer, frame)
        viewer.until(viewer.settled)
        viewer.until(lambda: all(bars < 30 for bars, _ in differences()))
        (_, first), (_, second) = differences()
        assert first == pytest.approx(200, abs=24)
        assert second == pytest.approx(120, abs=24)
    viewer.press("d")
    viewer.pictures_show(77)


def test_numbers_under_the_cursor_and_of_the_frame(viewer: Viewer) -> None:
    from selenium.webdriver import ActionChains

    caption, cells = "#readout caption", "#readout tbody tr:first-child td"
    click_on_frame(viewer, 50)
    plot = viewer.one("#plot")
    width = plot.rect["width"]
    x = LEFT + 85.5 / 100 * (width - LEFT - RIGHT) - width / 2
    ActionChains(viewer.driver).move_to_element_with_offset(plot, round(x), 20).perform()
    assert viewer.one(caption).text == "Frame 85, under the cursor, held out"
    assert [cell.text for cell in viewer.all(cells)] == ["0.085", "0.153", "A"]
    ActionChains(viewer.driver).move_to_element(viewer.one("#film-title")).perform()
    assert viewer.one(caption).text == "Frame 50, shown"
    assert [cell.text for cell in viewer.all(cells)] == ["0.050", "0.090", "A"]
    # A row is put beside the film from its table.
    viewer.one("#tables tbody tr:nth-child(4) button[data-letter=B]").click()
    assert [cell.text for cell in viewer.all(cells)] == ["0.050", "0.150", "A"]
    assert "linear" in viewer.one("#legend").text
    viewer.pictures_show(50)


def test_a_heading_sorts_and_says_so(viewer: Viewer) -> None:
    from selenium.webdriver.common.keys import Keys

    def names() -> list[str]:
        return [
            cell.text.split("|")[0]
            for cell in viewer.all("#tables table:first-child tbody .row-name")[:5]
        ]

    heads = viewer.all("#tables table")[0].find_elements("css selector", "thead th")
    assert names() == ["sharp", "evil", "blurry", "linear (reference)", "still (reference)"]
    psnr = next(head for head in heads if head.text.startswith("PSNR") and "held out" in head.text)
    psnr.find_element("css selector", "button").click()
    assert psnr.get_attribute("aria-sort") == "descending"
    assert names() == ["linear (reference)", "blurry", "evil", "sharp", "still (reference)"]
    psnr.find_element("css selector", "button").send_keys(Keys.ENTER)
    assert psnr.get_attribute("aria-sort") == "ascending"
    assert names() == ["still (reference)", "sharp", "evil", "blurry", "linear (reference)"]
    heads[0].find_element("css selector", "button").click()
    assert psnr.get_attribute("aria-sort") == "none"
    assert names()[0] == "blurry"


def test_another_film_without_videos_and_with_a_failed_model(viewer: Viewer) -> None:
    click_on_frame(viewer, 33)
    viewer.choose("film", "beta")
    viewer.until(lambda: viewer.one("#film-title").text == "Beta")
    assert viewer.frame == 0
    assert "There is no video of this film; the frames" in viewer.one("#notice").text
    assert not viewer.one("#play").is_enabled()
    viewer.all("#moments button")[3].click()
    assert viewer.frame == FRAMES[3]
    assert [badge.text for badge in viewer.all(".badge")] == ["picture"] * 3
    shown = viewer.ask("[...document.querySelectorAll('.screen img')].map((i) => i.src)")
    assert ["beta/original/000092.png" in shown[0], "beta/0/" in shown[1]] == [True, True]
    select = viewer.all(".panel select")[0]
    failed = next(o for o in select.find_elements("css selector", "option") if "failed" in o.text)
    failed.click()
    assert (
        "Failed: RuntimeError: out | of <memory>" in viewer.one(".panel-words:not([hidden])").text
    )
    assert viewer.one("#readout tbody td").text == "n/a"


def test_the_video_beside_the_models_and_the_sheet_follow_the_film(viewer: Viewer) -> None:
    assert not viewer.one("#whole").is_displayed()
    viewer.choose("film", "beta")
    viewer.until(lambda: viewer.all("#whole video"))
    viewer.until(lambda: viewer.ask("document.querySelector('#whole video').readyState > 0"))
    assert viewer.ask("document.querySelector('#whole video').controls")
    video, sheet = (each.text for each in viewer.all("#whole figcaption"))
    assert video == "Video: original and sharp, from left to right, with the film's sound"
    assert sheet.startswith("Contact sheet of beta: ")
    viewer.one("#whole img").location_once_scrolled_into_view  # noqa: B018 (it scrolls)
    viewer.until(lambda: viewer.ask("document.querySelector('#whole img').naturalWidth"))
    viewer.choose("film", "alpha")
    viewer.until(lambda: not viewer.one("#whole").is_displayed())
    assert viewer.all("#whole video") == []


def test_hostile_names_are_text(viewer: Viewer) -> None:
    assert "<script>alert(1)</script>" in viewer.one("#film-title").text
    names = [option.text for option in viewer.all(".panel:nth-child(2) option")]
    assert any(name.startswith("evil|[bold] *gan*$x$") for name in names), HOSTILE_MODEL
    assert viewer.ask("document.querySelectorAll('main script').length") == 0


def test_nothing_is_asked_of_a_network_and_nothing_complains(viewer: Viewer) -> None:
    viewer.press("d", ".", "]")
    viewer.choose("film", "beta")
    viewer.until(lambda: viewer.one("#film-title").text == "Beta")
    time.sleep(0.3)
    asked = []
    for entry in viewer.driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked.append(message["params"]["request"]["url"])
    assert asked
    # The browser's own controls of a video are pictures in `data:` addresses.
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert viewer.driver.get_log("browser") == []


def luminance(colour: list[float]) -> float:
    parts = [c / 3294.6 if c <= 10.31475 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1300, 720])
def test_text_reads_and_nothing_sticks_out(viewer: Viewer, scheme: str, width: int) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    metrics = {"width": width, "height": 1500, "deviceScaleFactor": 1, "mobile": False}
    viewer.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    viewer.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        assert viewer.ask("document.documentElement.scrollWidth <= innerWidth")
        colours = "(name) => getComputedStyle(document.documentElement).getPropertyValue(name)"
        read = viewer.ask(
            f"['--ground', '--panel', '--ink', '--quiet', '--a', '--b'].map({colours})"
        )
        rgb = [[int(text.strip()[i : i + 2], 16) for i in (1, 3, 5)] for text in read]
        for ground in rgb[:2]:
            for ink in rgb[2:]:
                low, high = sorted((luminance(ground), luminance(ink)))
                assert (high + 0.05) / (low + 0.05) >= 4.5
        unnamed = "[...document.querySelectorAll('button, select, input, video, [role=img]')]"
        unnamed += (
            ".filter((e) => !(e.ariaLabel || e.labels?.length || e.textContent.trim())).length"
        )
        assert viewer.ask(unnamed) == 0
    finally:
        viewer.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
        viewer.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
