"""One Chromium for all tests of pages."""

import shutil

import pytest


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    webdriver = pytest.importorskip(
        "selenium.webdriver", reason="selenium is absent (pip install '.[browser]')"
    )
    paths = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in paths:
        pytest.skip("chromium or chromedriver is absent")
    options = webdriver.ChromeOptions()
    options.binary_location = paths[0]
    quiet = ("headless=new", "no-sandbox", "disable-gpu", "disable-background-networking")
    for flag in (*quiet, "no-first-run", f"user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(paths[1]))
    driver.set_script_timeout(120)
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium):
    """Chromium, in which no page of the test may leave a message on the console."""
    yield chromium
    assert chromium.get_log("browser") == []
