"""Skills: which ones a prompt brings in, how often, and what of them is read."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from blazen import ChatMessage
from blazen.assistant import Skills
from blazen.assistant.front_matter import split_front_matter
from blazen.errors import ValidationError


def write(folder: Path, name: str, description: str, body: str) -> Path:
    place = folder / name
    place.mkdir(parents=True)
    path = place / "SKILL.md"
    path.write_text(f"---\nname: {name}\ndescription: {description}\n---\n{body}\n", "utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "skills"
    write(root, "python-review", "Reviews Python code for mistakes", "Read the whole change.")
    write(root / "deep", "german-writing", "Technical texts in German", "Schreibe knapp.")
    write(root, "cooking", "Recipes for soups and stews", "Begin with an onion.")
    write(root, "model-trouble", "Finds out why a local model is slow or fails", "Look at memory.")
    return root


def names(skills: Skills, prompt: str) -> list[str]:
    return [skill.name for skill in skills.pick(prompt)]


def test_names_and_descriptions_are_read(folder: Path) -> None:
    skills = {skill.name: skill for skill in Skills.read(folder).skills}
    assert set(skills) == {"python-review", "german-writing", "cooking", "model-trouble"}
    assert skills["cooking"].description == "Recipes for soups and stews"
    assert skills["german-writing"].path == folder / "deep" / "german-writing" / "SKILL.md"


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [
        ("Please review this Python function", ["python-review"]),
        ("How do I cook?", ["cooking"]),
        ("A recipe for a lentil soup", ["cooking"]),
        ("Write me a technical text, auf German", ["german-writing"]),
        ("What is the capital of France?", []),
        ("a text for my sister", []),
        ("use cooking and python-review", ["python-review", "cooking"]),
        ("", []),
    ],
)
def test_words_pick_skills(folder: Path, prompt: str, wanted: list[str]) -> None:
    assert names(Skills.read(folder), prompt) == wanted


def test_each_comes_once_a_session(folder: Path) -> None:
    skills = Skills.read(folder)
    assert names(skills, "review my Python code") == ["python-review"]
    assert names(skills, "review my Python code again") == []
    assert names(skills.session(), "review my Python code again") == ["python-review"]


def test_at_most_so_many_for_a_prompt_and_the_best_first(tmp_path: Path) -> None:
    for name in ("soup-a", "soup-b", "soup-c", "soup-d"):
        write(tmp_path, name, f"Soups of kind {name[-1]} in winter", "x")
    write(tmp_path, "lentil-soup", "Lentils", "x")
    write(tmp_path, "other", "Nothing of it", "x")
    skills = Skills.read(tmp_path, most=1)
    assert names(skills, "lentil soups") == ["lentil-soup"]
    assert names(Skills.read(tmp_path, most=0), "lentil soup") == []


def test_words_that_most_skills_share_tell_nothing(tmp_path: Path) -> None:
    for name in ("red", "green", "blue", "black"):
        write(tmp_path, name, "Writes reports about companies", "x")
    assert names(Skills.read(tmp_path), "reports about companies") == []


def test_bodies_go_into_the_system_message_once(folder: Path) -> None:
    skills = Skills.read(folder)
    first = [ChatMessage.user("Review this Python code")]
    applied = skills.applied(first)
    assert applied[1:] == first
    assert applied[0].text == (
        "Follow these skills where they fit the request.\n\n"
        "## Skill: python-review\n\nRead the whole change."
    )
    longer = [
        ChatMessage.system("Be brief."),
        *first,
        ChatMessage.assistant("Done."),
        ChatMessage.user("Review this Python code, and give a recipe for soup"),
    ]
    applied = skills.applied(longer)
    assert applied[1:] == longer[1:]
    assert applied[0].text.startswith("Be brief.\n\nFollow these skills")
    assert applied[0].text.count("Read the whole change.") == 1
    assert applied[0].text.count("Begin with an onion.") == 1
    assert skills.session().applied(longer) == applied  # who sees it all at once sees the same
    assert skills.applied(longer) == applied


def test_nothing_fits_and_nothing_is_added(folder: Path) -> None:
    messages = [ChatMessage.user("Hello!")]
    assert Skills.read(folder).applied(messages) == messages


def test_bodies_are_cut_at_whole_characters(tmp_path: Path) -> None:
    write(tmp_path, "umlauts", "About umlauts", "ä" * 100)
    skills = Skills.read(tmp_path, max_bytes=9)
    assert skills.applied([ChatMessage.user("umlauts")])[0].text.endswith("\n\nääää")


def test_only_the_file_itself_is_read(folder: Path) -> None:
    path = write(folder, "references", "References of books", "See references/secret.md")
    (path.parent / "references").mkdir()
    (path.parent / "references" / "secret.md").write_text("SECRET", "utf-8")
    text = Skills.read(folder).applied([ChatMessage.user("references of books")])[0].text
    assert "SECRET" not in text


def test_links_out_of_the_folder_are_left_out(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outside = write(tmp_path / "outside", "thief", "Steals secrets", "SECRET")
    (folder / "linked").mkdir()
    (folder / "linked" / "SKILL.md").symlink_to(outside)
    (folder / "whole").symlink_to(outside.parent, target_is_directory=True)
    with caplog.at_level(logging.WARNING, "blazen.assistant"):
        skills = Skills.read(folder)
    assert "thief" not in {skill.name for skill in skills.skills}
    assert "leads out of its folder" in caplog.text
    # And one that is put there later.
    inside = folder / "cooking" / "SKILL.md"
    inside.unlink()
    inside.symlink_to(outside)
    assert names(skills, "cooking") == []


def test_a_file_that_went_away_is_no_error(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    skills = Skills.read(folder)
    (folder / "cooking" / "SKILL.md").unlink()
    assert names(skills, "cooking") == []
    assert "can't be read" in caplog.text


def test_too_deep_and_hidden_folders_are_left_out(tmp_path: Path) -> None:
    write(tmp_path / "/".join("abcdefghij"), "deep", "Too deep", "x")
    write(tmp_path / ".git", "hidden", "Hidden", "x")
    assert Skills.read(tmp_path).skills == ()


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="there is no folder of skills"):
        Skills.read(tmp_path / "none")


def test_a_file_without_front_matter_goes_by_its_folder(tmp_path: Path) -> None:
    (tmp_path / "gardening").mkdir()
    (tmp_path / "gardening" / "SKILL.md").write_text("# Roses and tulips\n\nWater them.", "utf-8")
    (skill,) = Skills.read(tmp_path).skills
    assert (skill.name, skill.description) == ("gardening", "Roses and tulips")


@pytest.mark.parametrize(
    ("text", "fields", "body"),
    [
        (
            "---\nname: a\ndescription: 'b: c'\n---\nbody",
            {"name": "a", "description": "b: c"},
            "body",
        ),
        ("---\r\nname: a\r\n---\r\nbody", {"name": "a"}, "body"),
        (
            "---\ndescription: >-\n  one\n  two\nname: x\n---",
            {"description": "one two", "name": "x"},
            "",
        ),
        ("---\ndescription: one\n  two\n---\n", {"description": "one two"}, ""),
        ("\ufeff---\nName: a\n---\nb", {"name": "a"}, "b"),
        ("---\nname: a\nno end", {}, "---\nname: a\nno end"),
        ("plain", {}, "plain"),
    ],
)
def test_front_matter(text: str, fields: dict[str, str], body: str) -> None:
    assert split_front_matter(text) == (fields, body)


def test_folders_without_end_are_cut(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("blazen.assistant.skills._MOST_FILES", 2)
    with caplog.at_level(logging.WARNING, "blazen.assistant"):
        assert len(Skills.read(folder).skills) == 2
    assert "more than 2 skills" in caplog.text


def test_what_can_not_be_read_hides_no_other(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    open_file = Path.open

    def refuse(self: Path, *args: Any, **settings: Any) -> Any:
        if "cooking" in self.parts:
            raise PermissionError("not for you")
        return open_file(self, *args, **settings)

    monkeypatch.setattr(Path, "open", refuse)
    with caplog.at_level(logging.WARNING, "blazen.assistant"):
        assert len(Skills.read(folder).skills) == 3
    assert "not for you" in caplog.text
