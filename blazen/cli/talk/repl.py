"""The talk itself: read, answer, again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from blazen.assistant.conversations import ConversationStore
from blazen.cli.answering import Shown
from blazen.cli.failures import told_in_a_line
from blazen.cli.output import emit_json, safe, say
from blazen.cli.running import stoppable
from blazen.cli.talk.reader import Reader, entry
from blazen.cli.talk.session import Session
from blazen.cli.talk.slash import run_slash
from blazen.errors import BlazenError, ContextLengthError
from blazen.types.chat import Role


class Repl:
    """Reads what the user says until there is no more, and shows the answers."""

    def __init__(
        self,
        session: Session,
        reader: Reader,
        make_shown: Callable[[], Shown],
        *,
        interactive: bool,
        as_json: bool,
    ) -> None:
        self.session = session
        self.failed: str | None = None
        """The last prompt, where it got no answer."""
        self.default = ""
        """What the next entry begins with, to be edited."""
        self._reader = reader
        self._make_shown = make_shown
        self._interactive = interactive
        self._as_json = as_json

    @property
    def kept(self) -> ConversationStore:
        """Where conversations are kept."""
        return self.session.store or ConversationStore()

    async def run(self) -> None:
        """Talk until the user leaves."""
        if self._interactive:
            listing = self.session.listing
            say(f"{safe(listing.name)} ({listing.backend}); /help shows what there is")
            self.show_past()
        leaving = False
        while True:
            default, self.default = self.default, ""
            try:
                text = await entry(self._reader, default=default)
                leaving = False
                await self._take(text)
            except EOFError:
                return
            except KeyboardInterrupt:
                if not self._interactive or leaving:
                    raise
                leaving = True
                say("Ctrl-C again, Ctrl-D or /exit leaves")
            except (BlazenError, OSError) as error:
                if not self._interactive:
                    raise
                told_in_a_line(error)

    async def answer(self, text: str) -> None:
        """Ask the model, and show what it says; Ctrl-C ends that, and nothing else."""
        self.failed = text
        shown = self._make_shown()
        before = self.session.totals.answers
        try:
            answer = await stoppable(self.session.ask(text, shown))
        except ContextLengthError as error:
            raise ContextLengthError(
                f"{error} (/undo takes the last turn back, /clear begins anew)",
                tokens=error.tokens,
                limit=error.limit,
            ) from error
        finally:
            if self.session.totals.answers > before:
                self.failed = None
        if answer is None:
            kept = "what came is kept" if self.failed is None else "nothing came; /retry asks again"
            say(f"stopped; {kept}")
            if not self._interactive:
                raise KeyboardInterrupt
        elif self._as_json:
            whole = answer.to_dict()
            whole.pop("raw", None)
            whole.pop("state", None)
            emit_json({**whole, "content": answer.content, "model": self.session.listing.name})

    def show_past(self) -> None:
        """Show the end of a conversation that is gone on with."""
        said = self.session.conversation.messages
        if said:
            say(f"{len(said)} messages so far: {self.session.conversation.title}")
        for message in said[-2:]:
            mark = "› " if message.role is Role.User else ""
            say(mark + safe(message.text.strip()))

    async def _take(self, text: str) -> None:
        bare = text.strip()
        if bare.startswith("/") and not bare.startswith("//"):
            if await stoppable(_done(run_slash(self, bare))) is None:
                say("stopped")
        elif bare or (self.session.attached and self._interactive):
            await self.answer(text.replace("//", "/", 1) if bare.startswith("//") else text)


async def _done(work: Awaitable[None]) -> bool:
    await work
    return True
