"""What every page has to be: closed tags, no scripts, no requests."""

import html.parser
import re

from PIL import Image

from maskgit_prompt.report import sheets

PNG = sheets.png_bytes(Image.new("RGB", (3, 2), (1, 2, 3)))


class Balance(html.parser.HTMLParser):
    """Follows the tags and fails where one is closed that is not open."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def check_page(text):
    balance = Balance()
    balance.feed(text)
    assert balance.open == []
    assert "<script" not in text
    assert not re.search(r"https?://|@import|<link|url\(", text)
    assert all(source.startswith("data:image/png;base64,") for source in sources(text))


def sources(text):
    return re.findall(r'src="([^"]*)"', text)
