"""A page as PDF by Chromium, if one is installed. Refuses to know what is on the page."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from contract.errors import BadInput, Code, WorldError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
PRINT_S = 90.0


def write_pdf(page: str, out: Path) -> None:
    """Writes the HTML text `page` as a PDF. BadInput `config_invalid` without a browser; WorldError if it fails."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        words = f"{out}: a PDF needs Chromium (apt-get install chromium); or name a .html and print that"
        raise BadInput(Code.CONFIG_INVALID, words)
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "report.html"
        source.write_text(page, encoding="utf-8")
        command = [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--no-pdf-header-footer",
            f"--user-data-dir={scratch}/profile", f"--print-to-pdf={out.resolve()}", source.as_uri(),
        ]  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, timeout=PRINT_S, check=False)  # noqa: S603
        except subprocess.TimeoutExpired:
            raise WorldError(Code.BUSY, f"{browser} was not done after {PRINT_S:.0f} s: write a .html") from None
    if done.returncode or not out.is_file():
        raise WorldError(Code.DISK_FAILED, f"{browser}: {done.stderr.decode(errors='replace')[-200:]}")
