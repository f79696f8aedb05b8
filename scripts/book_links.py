"""Preprocessor of mdBook: links of the guide that lead out of it, such as to an example.

On a host of repositories `../examples/chat` is a link like any other; in the book there is nothing at its end. With
`repository` under `[preprocessor.outside]` in book.toml it becomes an address there, without it only its text is left.
"""

import json
import re
import sys

# `[text](../path)`; the text has no brackets of its own but in code.
OUTSIDE = re.compile(r"\[((?:`[^`]*`|[^\[\]`])*)\]\(\.\./([^)\s]+)\)")


def lead_out(text, repository):
    def replace(match):
        words, path = match.groups()
        return f"[{words}]({repository}/{path})" if repository else words

    return OUTSIDE.sub(replace, text)


def go_through(items, repository):
    for item in items:
        chapter = item.get("Chapter") if isinstance(item, dict) else None
        if chapter:
            chapter["content"] = lead_out(chapter["content"], repository)
            go_through(chapter["sub_items"], repository)


def main():
    if sys.argv[1:2] == ["supports"]:
        return
    context, book = json.load(sys.stdin)
    options = context["config"].get("preprocessor", {}).get("outside", {})
    go_through(book.get("items") or book["sections"], options.get("repository", "").rstrip("/"))
    json.dump(book, sys.stdout)


if __name__ == "__main__":
    main()
