"""Looks whether every link of the built book leads to a page and an anchor that are there; exits 1 if one does not."""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.anchors, self.links = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors.add(attributes.get("id"))
        if tag == "a" and attributes.get("href"):
            self.links.add(attributes["href"])


def main(folder):
    pages = {path.resolve(): Page(path.read_text()) for path in Path(folder).glob("*.html")}
    dead = []
    for path, page in pages.items():
        # These two are other views of pages that are looked at themselves.
        if path.name in ("print.html", "404.html", "toc.html"):
            continue
        for link in page.links:
            target = urlsplit(link)
            if target.scheme or target.netloc:
                continue
            there = (path.parent / unquote(target.path)).resolve() if target.path else path
            if there not in pages:
                dead.append(f"{path.name}: {link}: no such page")
            elif target.fragment and unquote(target.fragment) not in pages[there].anchors:
                dead.append(f"{path.name}: {link}: no such anchor")
    print("\n".join(sorted(dead)) or f"book: {len(pages)} pages, every link leads somewhere")
    return 1 if dead else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
