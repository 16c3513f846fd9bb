"""Instructions kept in files, of which a prompt brings in those that fit it.

A skill is a file ``SKILL.md``, anywhere below a folder::

    ---
    name: code-review
    description: Reviews Python code for mistakes and unclear names
    ---
    Read the whole change first. ...

Nothing else of its folder is read, and nothing is run.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from blazen.assistant.front_matter import split_front_matter
from blazen.assistant.words import words_of
from blazen.checks import check_range
from blazen.errors import ValidationError
from blazen.types.chat import ChatMessage, Role
from blazen.types.record import Record

_log = logging.getLogger("blazen.assistant")

FILE = "SKILL.md"
_MOST_FILES = 1000
_DEEPEST = 8
_HEAD = 8192  # bytes that a front matter may take
_ENOUGH = 2  # one word of the name, or two of the description


@dataclass(frozen=True)
class Skill(Record):
    """One skill: what it is called, what it is for, and its file."""

    name: str
    description: str
    path: Path


class Skills:
    """The skills of a folder, and which of them this session has brought in already."""

    def __init__(self, skills: Sequence[Skill], folder: Path, *, most: int, max_bytes: int) -> None:
        self.skills = tuple(skills)
        self._folder = folder
        self._most = most
        self._max_bytes = max_bytes
        self._words = {skill.path: _Words.of(skill) for skill in skills}
        held = Counter(word for words in self._words.values() for word in words.all)
        # A word that most skills have in common tells none of them from the others.
        self._common = {word for word, count in held.items() if count > max(2, len(skills) // 2)}
        self._prompts: set[str] = set()
        self._loaded: dict[Path, str] = {}

    @classmethod
    def read(cls, folder: str | os.PathLike[str], most: int = 3, max_bytes: int = 16384) -> Skills:
        """Read the names and descriptions of all skills below a folder.

        A prompt brings in at most ``most`` new ones, each cut at ``max_bytes``. Symbolic links that
        lead out of the folder are left out.
        """
        check_range("most skills", most, at_least=0, integer=True)
        check_range("max_bytes of a skill", max_bytes, at_least=1, integer=True)
        place = Path(folder)
        if not place.is_dir():
            raise ValidationError(f"there is no folder of skills {str(place)!r}")
        root = place.resolve()
        found = [skill for path in _files(root) if (skill := _read(path, root)) is not None]
        return cls(found, root, most=most, max_bytes=max_bytes)

    def session(self) -> Skills:
        """Give the same skills for another conversation: nothing is brought in yet."""
        return Skills(self.skills, self._folder, most=self._most, max_bytes=self._max_bytes)

    def pick(self, prompt: str) -> list[Skill]:
        """Give the skills that a prompt brings in, best first: none that came before."""
        if prompt in self._prompts:
            return []
        self._prompts.add(prompt)
        words = words_of(prompt) - self._common
        scored = [(self._words[s.path].score(words, prompt), s) for s in self.skills]
        fitting = sorted(
            ((score, s) for score, s in scored if score >= _ENOUGH and s.path not in self._loaded),
            key=lambda pair: (-pair[0], pair[1].name),
        )
        picked: list[Skill] = []
        for _, skill in fitting[: self._most]:
            body = self._body(skill)
            if body:
                self._loaded[skill.path] = body
                picked.append(skill)
        return picked

    def applied(self, messages: Sequence[ChatMessage]) -> list[ChatMessage]:
        """Give the messages with what their prompts bring in, once, in the system message.

        The same conversation gives the same messages, whether this object saw it grow or not.
        """
        given = list(messages)
        for message in given:
            if message.role is Role.User:
                self.pick(message.text)
        if not self._loaded:
            return given
        names = {skill.path: skill.name for skill in self.skills}
        bodies = [
            f"## Skill: {names[path]}\n\n{body}" for path, body in sorted(self._loaded.items())
        ]
        text = "\n\n".join(["Follow these skills where they fit the request.", *bodies])
        if given and given[0].role is Role.System:
            given[0] = dataclasses.replace(given[0], content=f"{given[0].text}\n\n{text}")
            return given
        return [ChatMessage.system(text), *given]

    def _body(self, skill: Skill) -> str:
        try:
            if not _inside(skill.path, self._folder):  # it may have been replaced meanwhile
                return ""
            with skill.path.open("rb") as file:
                # The front matter does not count.
                data = file.read(_HEAD + self._max_bytes)
        except OSError as error:
            _log.warning("a skill can't be read: %s", error)
            return ""
        _, body = split_front_matter(data.decode("utf-8", "replace"))
        cut = body.strip().encode()[: self._max_bytes]
        return cut.decode("utf-8", "ignore").strip()


@dataclass(frozen=True)
class _Words:
    plain: str
    name: frozenset[str]
    description: frozenset[str]

    @classmethod
    def of(cls, skill: Skill) -> _Words:
        name = words_of(skill.name)
        return cls(skill.name.lower(), name, words_of(skill.description) - name)

    @property
    def all(self) -> frozenset[str]:
        return self.name | self.description

    def score(self, words: frozenset[str], prompt: str) -> int:
        named = 10 if self.plain and self.plain in prompt.lower() else 0
        return named + 2 * len(self.name & words) + len(self.description & words)


def _files(root: Path) -> list[Path]:
    found: list[Path] = []
    for folder, below, files in os.walk(root):
        place = Path(folder)
        if len(place.relative_to(root).parts) >= _DEEPEST:
            below.clear()
        below[:] = sorted(name for name in below if not name.startswith("."))
        if FILE in files:
            found.append(place / FILE)
        if len(found) >= _MOST_FILES:
            _log.warning("%s holds more than %d skills: the rest is left out", root, _MOST_FILES)
            break
    return found


def _read(path: Path, root: Path) -> Skill | None:
    try:
        if not _inside(path, root) or not path.is_file():
            _log.warning("a skill is left out, as it leads out of its folder: %s", path)
            return None
        with path.open("rb") as file:
            head = file.read(_HEAD).decode("utf-8", "replace")
    except OSError as error:
        _log.warning("a skill can't be read: %s", error)
        return None
    facts, body = split_front_matter(head)
    first = next((line.strip("# ").strip() for line in body.splitlines() if line.strip()), "")
    return Skill(facts.get("name") or path.parent.name, facts.get("description") or first, path)


def _inside(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root)
