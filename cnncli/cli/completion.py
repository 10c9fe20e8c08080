"""What a shell is told to complete: tensor sources, config files and the cases in them, words."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from pathlib import Path

Completer = Callable[[str], list[str]]

MODE = "_CNNCLI_COMPLETE"
WORDS, PLACE = "COMP_WORDS", "COMP_CWORD"
MOST = 200


def when_asked(complete: Completer | None) -> Completer | None:
    """Return the completer while a shell completes; else none, since Typer takes each one apart."""
    return complete if MODE in os.environ else None


@contextlib.contextmanager
def whole_words(environment: MutableMapping[str, str]) -> Iterator[None]:
    """Answer bash, while it completes, in whole words: colons are no ends of words to us."""
    if environment.get(MODE) != "complete_bash" or PLACE not in environment:
        yield
        return
    rejoin_words(environment)
    words = environment[WORDS].split("\n")
    place = int(environment[PLACE])
    word = words[place] if place < len(words) else ""
    written = word[: word.rfind(":") + 1]
    answer = io.StringIO()
    try:
        with contextlib.redirect_stdout(answer):
            yield
    finally:
        for line in answer.getvalue().splitlines():
            print(line.removeprefix(written))


def rejoin_words(environment: MutableMapping[str, str]) -> None:
    """Put words back together that bash took apart at colons: `c.yaml :: na` to `c.yaml::na`.

    Bash counts a colon as the end of a word, so the word being completed, and what replaces it, is
    what follows the last one.
    """
    words = environment.get(WORDS, "").split("\n")
    place = int(environment[PLACE])
    joined: list[str] = []
    at = place
    for number, word in enumerate(words[: place + 1]):
        glued = joined and (set(word) == {":"} or joined[-1].endswith(":"))
        if glued and word != "":
            joined[-1] += word
        elif not (glued and number == place):
            joined.append(word)
        at = len(joined) - 1
    environment[WORDS] = "\n".join([*joined, *words[place + 1 :]])
    environment[PLACE] = str(at)


def complete_words(words: Iterable[str]) -> Completer:
    """Return what completes one of some words."""
    known = tuple(words)

    def complete(incomplete: str) -> list[str]:
        return [word for word in known if word.startswith(incomplete)]

    return complete


def complete_source(incomplete: str) -> list[str]:
    """Complete a tensor: the kinds, and files of arrays."""
    from cnncli.cases.sourcetypes import KINDS

    kinds = [kind for kind in (*KINDS, "none") if kind.startswith(incomplete)]
    return [*kinds, *_files(incomplete, (".npy", ".npz", ".bin"))]


def complete_config(incomplete: str) -> list[str]:
    """Complete a config file, a folder of them, or after `::` the name of a case."""
    from cnncli.cases.config import SUFFIXES

    file, separator, name = incomplete.partition("::")
    if not separator:
        return _files(incomplete, SUFFIXES)
    from cnncli.cases.config import read_entries

    if not Path(file).is_file():
        return []
    names = [entry.name for entry in read_entries(file) if entry.error is None]
    return [f"{file}::{one}" for one in names if one.startswith(name)][:MOST]


def _files(incomplete: str, suffixes: tuple[str, ...]) -> list[str]:
    """Return the files of these suffixes, and the folders, that begin as is written."""
    folder, _, beginning = incomplete.rpartition("/")
    try:
        entries = sorted(
            os.scandir(f"{folder}/" if folder or "/" in incomplete else "."),
            key=lambda entry: entry.name,
        )
    except OSError:
        return []
    prefix = incomplete[: len(incomplete) - len(beginning)]
    found = []
    for entry in entries:
        if not entry.name.startswith(beginning) or (entry.name[0] == "." and not beginning):
            continue
        if entry.is_dir():
            found.append(f"{prefix}{entry.name}/")
        elif entry.name.lower().endswith(suffixes):
            found.append(f"{prefix}{entry.name}")
    return found[:MOST]
