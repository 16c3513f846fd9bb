"""``blazen speak``: a text read aloud, or into a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from blazen.cli.engine import Engine, engine_options_without
from blazen.cli.making import READABLE, force_option, opened, output_file
from blazen.cli.options import Places, catalog_options, json_option
from blazen.cli.output import emit_json, emit_table, say
from blazen.cli.progress import progress
from blazen.cli.running import run_async
from blazen.errors import UnsupportedError

if TYPE_CHECKING:
    from blazen.types.audio import Audio

FORMATS = ("wav", "flac", "mp3", "ogg", "m4a")


@click.command(short_help="Read a text aloud, or into a file.")
@click.argument("words", nargs=-1, metavar="[TEXT]...")
@click.option("-m", "--model", metavar="NAME", help="The model; else the default.")
@click.option(
    "-f", "--file", "files", type=READABLE, multiple=True, help="Read this text file (repeatable)."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Write a sound file: .wav, .flac, .mp3, .ogg or .m4a; '-' is a WAV on stdout.",
)
@click.option("--play", is_flag=True, help="Play it too; without --output that is done anyway.")
@click.option("--voice", metavar="NAME", help="Who speaks: --voices lists them.")
@click.option("--voices", is_flag=True, help="List the model's voices, and say nothing.")
@click.option(
    "--speed", type=float, metavar="X", help="1 is the voice's own pace, 2 twice as fast."
)
@click.option("-l", "--language", metavar="CODE", help="Such as en-us, where a voice has several.")
@force_option
@json_option
@engine_options_without("--ctx", "--context", "--ubatch", "-o")
@catalog_options
def command(
    words: tuple[str, ...],
    model: str | None,
    files: tuple[Path, ...],
    output: Path | None,
    play: bool,
    voice: str | None,
    voices: bool,
    speed: float | None,
    language: str | None,
    force: bool,
    as_json: bool,
    engine: Engine,
    places: Places,
) -> None:
    """Read a text aloud, or into a file.

    The text is what you type, what --file names and what is piped in. Without --output it is
    played, which takes pip install 'blazen[play]'.

    \b
    blazen speak "Dinner is ready"
    blazen speak --file chapter.txt -o chapter.mp3
    blazen speak --voices
    """
    from blazen.types.speech import SpeechOptions

    if voices:
        run_async(_list(places, engine, model, as_json))
        return
    options = SpeechOptions(voice=voice, language=language, speed=speed)
    to_stdout = output is not None and str(output) == "-"
    if to_stdout and as_json:
        raise click.UsageError("stdout can't hold the sound and JSON: name a file, or leave --json")
    if output is not None and not to_stdout:
        output_file(output, FORMATS, what="a sound file", force=force)
    from blazen.cli.prompts import whole_prompt

    text = whole_prompt(words, files)
    if not text.strip():
        raise click.UsageError('there is no text: write one, as blazen speak "Hello"')

    async def work() -> tuple[Audio, str]:
        async with opened(places, engine, model, "tts") as (opened_model, listing):
            stream = opened_model.speak_stream(text, options)
            if play or output is None:
                await stream.play()
            else:
                await _speak(stream)
            return stream.response, listing.name

    audio, name = run_async(work())
    if to_stdout:
        sys.stdout.buffer.write(audio.to_bytes("wav"))
        sys.stdout.buffer.flush()
    elif output is not None:
        audio.save(output)
    if as_json:
        emit_json(
            {
                "file": None if output is None else str(output),
                "seconds": round(audio.duration, 3),
                "sample_rate": audio.sample_rate,
                "model": name,
            }
        )
    elif output is not None:
        say(f"wrote {'the sound' if to_stdout else output}: {audio.duration:.1f} s")


async def _speak(stream: Any) -> None:
    from blazen.types.progress import Progress

    seconds = 0.0
    with progress() as report:
        async with stream:
            async for piece in stream:
                seconds += piece.duration
                report(Progress("speak", round(seconds), None, "s"))


async def _list(places: Places, engine: Engine, model: str | None, as_json: bool) -> None:
    catalog = places.read(model)
    listing = engine.listing(catalog, model, "tts")
    opened_model = catalog.build(listing)
    if not hasattr(opened_model, "voices"):
        raise UnsupportedError(f"{listing.name!r} does not tell its voices")
    try:
        voices = await opened_model.voices()
    finally:
        if hasattr(opened_model, "unload"):
            await opened_model.unload()
    if as_json:
        emit_json({"model": listing.name, "voices": voices})
        return
    emit_table(
        ("voice", "language", "gender", "quality"),
        [(voice.name, voice.language, voice.gender, voice.quality) for voice in voices],
    )
