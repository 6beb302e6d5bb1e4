"""The page in a real browser: look, click, label, see the map change, save, open again.

Pictures of the steps go to the folder that ``EXPLORE_PICTURES`` names, to be looked at.
"""

import os
import threading
import time
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from PIL import Image

from torchgeo_sits.exploring import Explorer, PageServer, SeriesImages, Session
from torchgeo_sits.grid import grid_of

from .conftest import Made

playwright = pytest.importorskip('playwright.sync_api')
CHROMIUM = Path('/usr/bin/chromium')
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason='no chromium: apt-get install it')
POINTS = [('west', 10, 20), ('middle', 35, 20), ('east', 60, 20)]


@pytest.fixture(scope='module')
def browser():
    """One browser for all tests."""
    with playwright.sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=str(CHROMIUM), args=['--no-sandbox'])
        yield browser
        browser.close()


@contextmanager
def opened(made: Made, session: Path, **options):
    """Serve a session from this process."""
    explorer = made.explorer(session, **options)
    server = PageServer(explorer)
    thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.02})
    thread.start()
    try:
        yield explorer, server.url
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        explorer.close()


class Tab:
    """A tab, and what a user does in it."""

    def __init__(self, browser, url: str) -> None:
        self.page = browser.new_page(viewport={'width': 1100, 'height': 700})
        self.faults: list[str] = []
        self.page.on('pageerror', lambda error: self.faults.append(str(error)))
        self.page.on('console', self._heard)
        self.page.on('request', self._asks)
        self.page.goto(url)
        self.settle()

    def _heard(self, message) -> None:
        if message.type == 'error':
            self.faults.append(message.text)

    def _asks(self, request) -> None:
        if not request.url.startswith(('http://127.0.0.1:', 'blob:', 'data:')):
            self.faults.append(f'asks {request.url}')

    def until(self, condition: str, seconds: float = 15) -> None:
        """Wait for a condition in JavaScript; the page allows no polling by its own eval."""
        end = time.monotonic() + seconds
        while not self.page.evaluate(condition):
            assert time.monotonic() < end, (condition, self.page.inner_text('#message'))
            self.page.wait_for_timeout(20)

    def settle(self) -> None:
        """Wait until all tiles are there and drawn."""
        self.page.evaluate('draw()')
        self.until('[...tiles.values()].every((one) => one.image) && state.version >= 0')
        self.page.evaluate('draw()')

    def click(self, column: float, row: float) -> None:
        x, y = self.page.evaluate(f'toScreen({column + 0.5}, {row + 0.5})')
        self.page.mouse.click(x, y)

    def label(self, name: str, column: int, row: int) -> None:
        number = self.page.evaluate('state.labels.length')
        self.page.click(f'.class:has-text("{name}")')
        self.click(column, row)
        self.until(f'state.labels.length === {number + 1}')
        self.settle()

    def add(self, *names: str) -> None:
        for name in names:
            self.page.fill('#name', name)
            self.page.press('#name', 'Enter')
            self.page.wait_for_selector(f'.class:has-text("{name}")')

    def shown(self, left: float = 0.0) -> np.ndarray:
        """Picture of the map ``(h, w, 3)`` from a share of its width on."""
        png = self.page.locator('#map').screenshot()
        picture = np.asarray(Image.open(BytesIO(png)).convert('RGB')).astype(int)
        return picture[:, int(left * picture.shape[1]) :]

    def colour(self, column: int, row: int) -> tuple[int, ...]:
        x, y = self.page.evaluate(f'toScreen({column + 0.5}, {row + 0.5})')
        return tuple(self.shown()[int(y), int(x)].tolist())

    def picture(self, name: str) -> None:
        if folder := os.environ.get('EXPLORE_PICTURES'):
            self.page.screenshot(path=f'{folder}/{name}.png')


def test_from_a_click_to_a_map_that_is_saved_and_opens_again(browser, made, tmp_path):
    session = tmp_path / 'session'
    with opened(made, session) as (explorer, url):
        tab = Tab(browser, url)
        tab.picture('1-opened')
        # Dates slide.
        tab.page.select_option('#above', '')
        first = tab.shown()
        day = tab.page.inner_text('#day')
        tab.page.fill('#date', '0' if day != explorer.about()['dates'][0] else '1')
        tab.settle()
        assert (tab.shown() != first).any(-1).mean() > 0.3
        assert tab.page.inner_text('#day') != day
        # A click asks: the series is drawn, and what is like the place is bright.
        tab.page.select_option('#below', 'similarity')
        tab.click(10, 30)
        tab.until('place && place.column === 10 && place.row === 30')
        tab.settle()
        assert 'column 10, row 30' in tab.page.inner_text('#place')
        assert len(tab.page.evaluate('place.times')) == 5
        assert sum(tab.colour(15, 40)) > 3 * max(sum(tab.colour(60, 40)), 30)
        plot = Image.open(BytesIO(tab.page.locator('#plot').screenshot())).convert('RGB')
        assert len(plot.getcolors(10**6)) > 20
        tab.picture('2-asked')
        # Three classes are labelled, and the map follows.
        tab.page.select_option('#below', 'map')
        tab.add('west', 'middle', 'east')
        for name, column, row in POINTS[:2]:
            tab.label(name, column, row)
        two = tab.colour(64, 50)
        tab.label(*POINTS[2])
        colours = {one['name']: one['colour'] for one in explorer.state()['classes']}
        wanted = {name: tuple(bytes.fromhex(colour[1:])) for name, colour in colours.items()}
        assert two != wanted['east'] == tab.colour(64, 50)
        assert tab.colour(15, 50) == wanted['west']
        tab.label('west', 14, 44)
        assert '4 labels; 2 of 2 right when left out' in tab.page.inner_text('#score')
        tab.picture('3-labelled')
        tab.page.wait_for_selector('#saved a:has-text("map.tif")', timeout=30_000)
        with tab.page.expect_download() as download:
            tab.page.click('#saved a:has-text("map.tif")')
        assert Path(download.value.path()).read_bytes() == explorer.session.map_file.read_bytes()
        tab.picture('4-saved')
        # What is saved is what was clicked, and what is seen.
        frame = gpd.read_file(explorer.session.labels_file)
        grid = explorer.images.grid
        places = [grid.transform @ (c + 0.5, r + 0.5) for _, c, r in [*POINTS, ('west', 14, 44)]]
        assert [(p.x, p.y) for p in frame.geometry] == places
        assert frame['class'].tolist() == ['west', 'middle', 'east', 'west']
        with rasterio.open(explorer.session.map_file) as file:
            codes, palette = file.read(1), file.colormap(1)
        for column, row in [(5, 50), (30, 7), (44, 33), (68, 58)]:
            assert tab.colour(column, row) == palette[codes[row, column]][:3]
        assert not tab.faults
        tab.page.close()
    with opened(made, session) as (_, url):
        tab = Tab(browser, url)
        assert tab.page.locator('.class').count() == 3
        tab.page.select_option('#below', 'map')
        tab.page.select_option('#above', '')
        tab.settle()
        assert tab.colour(64, 50) == wanted['east']
        assert '4 labels' in tab.page.inner_text('#score')
        assert not tab.faults
        tab.page.close()


def test_polygons_keys_zoom_swipe_and_removal(browser, made, tmp_path):
    with opened(made, tmp_path / 's') as (explorer, url):
        tab = Tab(browser, url)
        tab.add('west')
        tab.page.click('#polygon')
        for column, row in [(6, 20), (16, 20), (16, 30), (6, 30)]:
            tab.click(column, row)
        assert not explorer.session.labels
        tab.click(6, 20)  # the first corner again
        tab.until('state.labels.length === 1')
        np.testing.assert_allclose(explorer.session.labels[0].shape.bounds, [6.5, 20.5, 16.5, 30.5],
                                   atol=0.1)  # fmt: skip
        tab.click(30, 30)
        tab.page.press('#map', 'Escape')
        assert tab.page.evaluate('drawn.length') == 0
        before = tab.page.evaluate('view.k')
        tab.page.mouse.move(300, 300)
        tab.page.mouse.wheel(0, -300)
        tab.until(f'view.k > 1.9 * {before}')
        tab.page.press('#map', 'ArrowRight')
        tab.page.select_option('#below', 'image')
        tab.page.select_option('#above', 'embedding')
        tab.settle()
        left = tab.shown()
        box = tab.page.locator('#swipe').bounding_box()
        tab.page.mouse.move(box['x'] + 7, 300)
        tab.page.mouse.down()
        tab.page.mouse.move(100, 300)
        tab.page.mouse.up()
        tab.settle()
        changed = (tab.shown() != left).any(-1)
        assert changed[50:600, 120:350].mean() > 0.5
        assert not changed[50:600, 10:90].any()
        tab.picture('5-swiped')
        tab.page.click('#undo')
        tab.until('state.labels.length === 0')
        assert not tab.faults
        tab.page.close()


def test_a_second_tab_follows_the_first(browser, made, tmp_path):
    with opened(made, tmp_path / 's') as (_, url):
        first, second = Tab(browser, url), Tab(browser, url)
        first.add('west', 'middle')
        first.label(*POINTS[0])
        second.until('state.labels.length === 1')
        second.label(*POINTS[1])
        first.until('state.has_map')
        # Both remove the same label at once: one is told that it is gone, and no other goes.
        first.page.evaluate("change('labels/2/remove', {})")
        second.page.evaluate("change('labels/2/remove', {})")
        second.page.wait_for_selector('#message:has-text("there is no label 2")')
        first.until('state.labels.length === 1')
        assert not first.faults
        first.page.close()
        second.page.close()


def test_suggestions_lead_to_places_that_are_not_labelled(browser, made, tmp_path):
    with opened(made, tmp_path / 's') as (_, url):
        tab = Tab(browser, url)
        tab.page.click('#suggest')
        tab.until('hint && place && place.row === hint.row')
        once = tab.page.evaluate('[hint.row, hint.column]')
        tab.page.click('#suggest')
        tab.until(f'JSON.stringify([hint.row, hint.column]) !== JSON.stringify({once})')
        tab.picture('6-suggested')
        assert not tab.faults
        tab.page.close()


def test_a_server_that_is_gone_is_told(browser, made, tmp_path):
    with opened(made, tmp_path / 's') as (_, url):
        tab = Tab(browser, url)
        tab.add('west')
    tab.page.wait_for_selector('#message:has-text("The server does not answer")', timeout=10_000)
    tab.page.close()


def test_names_of_strangers_are_words(browser, made, tmp_path):
    with opened(made, tmp_path / 's') as (explorer, url):
        name = '<img src=x onerror=alert(1)>'
        explorer.add_classes([name])
        tab = Tab(browser, url)
        assert tab.page.inner_text('.class') == name
        assert tab.page.locator('.class img').count() == 0
        tab.page.close()


def test_without_embeddings_there_are_images_and_labels(browser, made, tmp_path):
    images = SeriesImages(made.open_bands, grid_of(made.open_bands(None)))
    explorer = Explorer(images, Session(tmp_path / 's'))
    server = PageServer(explorer)
    thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.02})
    thread.start()
    tab = Tab(browser, server.url)
    tab.add('west')
    tab.label(*POINTS[0])
    assert not tab.page.is_visible('#suggest')
    assert tab.page.evaluate('about.layers.length') == 1
    assert not tab.faults
    tab.page.close()
    server.shutdown()
    thread.join()
    server.server_close()
    explorer.close()
