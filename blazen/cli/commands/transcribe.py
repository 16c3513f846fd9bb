"""``blazen transcribe``: what is said in sound files, as text or subtitles."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from blazen.cli.engine import Engine, engine_options_without
from blazen.cli.making import WRITABLE, force_option, opened, output_file
from blazen.cli.options import Places, catalog_options
from blazen.cli.output import emit, emit_json, is_typed, say
from blazen.cli.progress import progress
from blazen.cli.running import run_async
from blazen.errors import ValidationError

if TYPE_CHECKING:
    from blazen.types.audio import Audio
    from blazen.types.transcription import TranscriptionResponse

FORMATS = {"text": "txt", "srt": "srt", "vtt": "vtt", "tsv": "tsv", "json": "json"}
"""How a transcript may be written, and the suffix of its file."""
LARGEST = 1 << 30


@click.command(short_help="Turn speech into text or subtitles.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("-m", "--model", metavar="NAME", help="The model; else the default.")
@click.option(
    "-F",
    "--format",
    "style",
    type=click.Choice(list(FORMATS)),
    help="How to write it; else by the suffix of --output, or as text.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("-o", "--output", type=WRITABLE, metavar="FILE", help="Write it into this file.")
@click.option(
    "-d",
    "--output-dir",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    metavar="DIR",
    help="Write a file for each sound into this folder, of the sound's name.",
)
@click.option("-l", "--language", metavar="CODE", help="Such as en; auto has it found out.")
@click.option("--translate", is_flag=True, help="Translate into English.")
@click.option("--words", is_flag=True, help="Give the time of each word (srt, vtt, json).")
@click.option("--prompt", metavar="TEXT", help="What was said before, or how names are spelt.")
@click.option("--line-width", type=click.IntRange(min=8), help="Characters of a line of subtitles.")
@force_option
@engine_options_without("--ctx", "--context", "--ubatch", "-o")
@catalog_options
def command(
    files: tuple[str, ...],
    model: str | None,
    style: str | None,
    as_json: bool,
    output: Path | None,
    output_dir: Path | None,
    language: str | None,
    translate: bool,
    words: bool,
    prompt: str | None,
    line_width: int | None,
    force: bool,
    engine: Engine,
    places: Places,
) -> None:
    """Write down what is said in sound files, or in the sound of videos; '-' is standard input.

    \b
    blazen transcribe talk.mp3
    blazen transcribe film.mp4 -o film.srt
    blazen transcribe *.wav --format json -d transcripts
    """
    style = _style(style, as_json, output)
    if words and style in ("text", "tsv"):
        raise click.UsageError(f"--words is for srt, vtt and json, not for {style}")
    targets = _targets(files, style, output, output_dir, force)
    settings: dict[str, Any] = {
        "language": language,
        "translate": translate,
        "words": words,
        "prompt": prompt,
    }
    sounds = [_sound(file) for file in files]
    layout: dict[str, Any] = {"max_line_width": line_width} if style in ("srt", "vtt") else {}
    if style in ("srt", "vtt") and words:
        layout["words"] = True

    async def work() -> None:
        from blazen.types.transcription import TranscriptionRequest

        heard: list[tuple[str, TranscriptionResponse]] = []
        async with opened(places, engine, model, "transcription") as (opened_model, _):
            for file, sound, target in zip(files, sounds, targets, strict=True):
                request = TranscriptionRequest(sound, **settings)
                transcript = await _transcribe(opened_model, request, file)
                if target is not None:
                    transcript.save(target, FORMATS[style], **layout)
                    say(f"wrote {target}")
                elif style == "json":
                    heard.append((file, transcript))
                else:
                    if len(files) > 1:
                        say(f"{file}:")
                    emit(transcript.render(FORMATS[style], **layout).rstrip("\n"))
        if heard:
            records = [{"file": file, **one.to_dict()} for file, one in heard]
            emit_json(records[0] if len(files) == 1 else records)

    run_async(work())


async def _transcribe(model: Any, request: Any, file: str) -> TranscriptionResponse:
    from blazen.types.progress import Progress

    stream = model.transcribe_stream(request)
    with progress() as report:
        async with stream:
            async for piece in stream:
                if piece.position is not None:
                    total = None if piece.duration is None else round(piece.duration)
                    report(Progress("hear", round(piece.position), total, "s", Path(file).name))
    response: TranscriptionResponse = stream.response
    return response


def _style(style: str | None, as_json: bool, output: Path | None) -> str:
    if as_json:
        if style not in (None, "json"):
            raise click.UsageError(f"--json and --format {style} contradict each other")
        return "json"
    if style is not None:
        return style
    if output is None:
        return "text"
    suffix = output.suffix.lstrip(".").lower()
    known = {suffix: name for name, suffix in FORMATS.items()}
    if suffix not in known:
        raise ValidationError(
            f"what is {str(output)!r} to hold? Its suffix is none of "
            f"{', '.join(known)}: say --format too"
        )
    return known[suffix]


def _targets(
    files: Sequence[str], style: str, output: Path | None, folder: Path | None, force: bool
) -> list[Path | None]:
    """Say where each transcript goes; ``None`` is stdout."""
    if output is not None and folder is not None:
        raise click.UsageError("--output and --output-dir both say where it goes: give one")
    if files.count("-") > 1:
        raise click.UsageError("standard input can be read once: give '-' once")
    if output is not None:
        if len(files) > 1:
            raise click.UsageError("--output is one file: take --output-dir for several sounds")
        return [output_file(output, (), what="a transcript", force=force)]
    if folder is None:
        if len(files) > 1 and style in ("srt", "vtt", "tsv"):
            raise click.UsageError(f"several {style} can't follow each other: give --output-dir")
        return [None] * len(files)
    names = [Path("stdin" if file == "-" else file).stem for file in files]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValidationError(
            f"two of the files are called {twice[0]!r}: one would replace the other"
        )
    return [
        output_file(folder / f"{name}.{FORMATS[style]}", (), what="a transcript", force=force)
        for name in names
    ]


def _sound(file: str) -> Audio:
    from blazen.types.audio import Audio

    if file != "-":
        return Audio.of(file)
    if sys.stdin is None or is_typed():
        raise click.UsageError("'-' reads a sound file from standard input: pipe one in")
    data = sys.stdin.buffer.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValidationError("standard input is longer than 1 GiB: give the file by its name")
    return Audio.from_bytes(data)
