"""The page in a real browser: no console message, no horizontal scrolling, nothing planted runs."""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path

import pytest

from factfade.report import page
from factfade.report.data import PageData
from tests.report.reading import with_texts

pytestmark = pytest.mark.browser
WIDTHS = (1280, 380)


def browse(chromium: str, file: Path, folder: Path, width: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One visit; the log of the console is on stderr."""
    command = [
        chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        "--disable-dev-shm-usage", "--enable-logging=stderr", "--v=0", "--hide-scrollbars", "--timeout=20000",
        f"--user-data-dir={folder / 'profile'}", f"--window-size={width},2400", *arguments, file.as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)


def console(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.parametrize("width", WIDTHS)
def test_no_console_message_and_a_picture(chromium: str, html: str, tmp_path: Path, width: int) -> None:
    file, picture = tmp_path / "report.html", tmp_path / "report.png"
    file.write_text(html, encoding="utf-8")
    done = browse(chromium, file, tmp_path, width, f"--screenshot={picture}")
    assert console(done) == []
    assert struct.unpack(">II", picture.read_bytes()[16:24]) == (width, 2400)


def test_the_console_is_really_read(chromium: str, html: str, tmp_path: Path) -> None:
    """A style that the policy does not name is refused with a message: the test above can fail."""
    file = tmp_path / "report.html"
    file.write_text(html.replace("</main>", '<p style="color:red">x</p></main>'), encoding="utf-8")
    assert any(
        "Content Security Policy" in line for line in console(browse(chromium, file, tmp_path, 1280, "--dump-dom"))
    )


@pytest.mark.parametrize("width", WIDTHS)
def test_the_body_does_not_scroll_sideways(chromium: str, html: str, tmp_path: Path, width: int) -> None:
    """Everything is opened in a frame of that width, and a probe (which the policy would forbid) tells the widths."""
    probe = (
        "<script>document.querySelectorAll('details').forEach(function (d) { d.open = true; });"
        "var e = document.documentElement; parent.postMessage(e.scrollWidth + ' of ' + e.clientWidth, '*');</script>"
    )
    opened = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html).replace("</body>", probe + "</body>")
    (tmp_path / "report.html").write_text(opened, encoding="utf-8")
    frame = tmp_path / "frame.html"
    frame.write_text(
        "<script>addEventListener('message', function (e) { document.title = e.data; });</script>"
        f'<iframe src="report.html" width="{width}" height="2000" style="border:0"></iframe>',
        encoding="utf-8",
    )
    dom = browse(chromium, frame, tmp_path, 1400, "--virtual-time-budget=5000", "--dump-dom").stdout
    found = re.search(r"<title>(\d+) of (\d+)</title>", dom)
    assert found is not None
    assert int(found[2]) == width
    assert int(found[1]) <= width


def test_the_script_shows_its_button_and_planted_text_does_not_run(
    chromium: str, data: PageData, tmp_path: Path
) -> None:
    payload = '"><img src=x onerror="document.title=1"><svg onload="document.title=2"><script>document.title=3</script>'
    file = tmp_path / "report.html"
    file.write_text(page.render(with_texts(data, lambda text: payload + text)), encoding="utf-8")
    done = browse(chromium, file, tmp_path, 1280, "--dump-dom")
    assert console(done) == []
    assert re.search(r"<title>[123]</title>", done.stdout) is None
    assert "<img" not in done.stdout
    assert re.search(r'<button[^>]*id="open-all"(?![^>]*hidden)[^>]*>', done.stdout)
