"""A talk as it stands: the model, what was said, what the next prompt takes with it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blazen.assistant.conversations import Conversation, ConversationStore
from blazen.assistant.history import append_turn, check_place
from blazen.cli.answering import Shown, load, stream_answer
from blazen.cli.output import say
from blazen.cli.sampling import sampled
from blazen.errors import ValidationError
from blazen.types.chat import ChatMessage, Part, Role
from blazen.types.completion import FinishReason, ModelResponse

if TYPE_CHECKING:
    from blazen.catalog import Catalog, Listing
    from blazen.cli.assistance import Assistance
    from blazen.cli.engine import Engine


@dataclass
class Totals:
    """What this session has used so far, in tokens."""

    prompt: int = 0
    completion: int = 0
    answers: int = 0

    def add(self, answer: ModelResponse) -> None:
        """Count an answer."""
        self.answers += 1
        if answer.usage is not None:
            self.prompt += answer.usage.prompt_tokens
            self.completion += answer.usage.completion_tokens


class Session:
    """One talk with one model at a time; it is kept as it grows."""

    def __init__(
        self,
        catalog: Catalog,
        engine: Engine,
        assistance: Assistance,
        store: ConversationStore | None,
        conversation: Conversation,
        sampling: dict[str, Any],
        history: Path | None = None,
    ) -> None:
        sampled(sampling)
        if history is not None:
            check_place(history)
        self.catalog = catalog
        self.store = store
        self.attached: list[Part] = []
        self.totals = Totals()
        self.last: ModelResponse | None = None
        self._history = history
        self._engine = engine
        self._assistance = assistance
        self.listing = engine.listing(catalog, conversation.model)
        self._model: Any = catalog.build(self.listing)
        self.conversation = dataclasses.replace(
            conversation,
            model=_lasting(self.listing),
            options={**conversation.options, **sampling},
        )

    @property
    def system(self) -> str | None:
        """How the model is to behave: as the user says, else as the configuration does."""
        said = self.conversation.system
        return self.listing.system if said is None else said

    async def load(self) -> None:
        """Load the model, so that the first answer need not wait for it."""
        await load(self._model)

    async def close(self) -> None:
        """Give the model's memory back."""
        if hasattr(self._model, "unload"):
            await self._model.unload()

    async def switch(self, name: str) -> None:
        """Go on with another model; where that is not to be had, with the one that is."""
        listing = self._engine.listing(self.catalog, name)
        model = self.catalog.build(listing)
        await self.close()  # both may not fit
        before = self.listing, self._model, self.conversation
        self.listing, self._model = listing, model
        self.change(model=_lasting(listing))
        try:
            await self.load()
        except BaseException:  # also a Ctrl-C: the one before answers again, once it is asked
            self.listing, self._model, self.conversation = before
            raise

    def change(self, **values: Any) -> None:
        """Change what the conversation says of itself: its model, system or options."""
        self.conversation = dataclasses.replace(self.conversation, **values)

    def set_option(self, name: str, value: Any) -> None:
        """Set an option of the sampling; ``None`` leaves it to the model again."""
        options = {**self.conversation.options, name: value}
        if value is None:
            del options[name]
        sampled(options)
        self.change(options=options)

    async def ask(self, text: str, shown: Shown) -> ModelResponse:
        """Show the answer to a prompt, and keep both; of a stopped answer, what came."""
        parts = [*self.attached, *([text] if text else [])]
        prompt = ChatMessage(Role.User, text if parts == [text] else parts)
        beginning = [ChatMessage.system(self.system)] if self.system else []
        messages = [*beginning, *self.conversation.messages, prompt]
        asked = await self._assistance.prepared(self._model.complete, messages)
        options = sampled(self.conversation.options)

        def keep(answer: ModelResponse) -> None:
            # Of one that was stopped before its first word there is nothing to keep.
            if answer.content or answer.finish_reason is not FinishReason.Cancelled:
                self.last = answer
                self.totals.add(answer)
                self.attached = []
                self._grow(prompt, answer.message)
                if self._history is not None:
                    append_turn(self._history, asked, answer, model=self.listing.name)

        return await stream_answer(self._model, asked, options, shown, keep)

    def undo(self) -> str | None:
        """Take the last prompt and its answer back; give the prompt's text, its files attached."""
        messages = list(self.conversation.messages)
        while messages and messages[-1].role is not Role.User:
            messages.pop()
        if not messages:
            return None
        prompt = messages.pop()
        self.attached = [part for part in prompt.parts if not isinstance(part, str)]
        self.change(messages=tuple(messages))
        self._save()
        return prompt.text

    def clear(self) -> None:
        """Begin another conversation with the same model and settings."""
        old = self.conversation
        self.conversation = Conversation(model=old.model, system=old.system, options=old.options)
        self.attached = []
        self._forget()

    async def resume(self, conversation: Conversation) -> None:
        """Go on with a conversation that was kept, with its model where it is still there."""
        if conversation.model not in (None, self.conversation.model):
            await self.switch(str(conversation.model))
        self.conversation = dataclasses.replace(conversation, model=self.conversation.model)
        self._forget()

    def keep(self) -> str:
        """Write the conversation into its place now, and give its id."""
        if not self.conversation.messages:
            raise ValidationError("nothing was said yet: there is nothing to save")
        (self.store or ConversationStore()).save(self.conversation)
        return self.conversation.id

    def _grow(self, *messages: ChatMessage) -> None:
        self.conversation = self.conversation.said(*messages)
        self._save()

    def _save(self) -> None:
        if self.store is None:
            return
        try:
            self.store.save(self.conversation)
        except OSError as error:  # a full disk, a home that is read-only: the talk itself goes on
            say(f"this is not kept in {self.store.folder}: {error.strerror or error}")
            self.store = None

    def _forget(self) -> None:
        """Have the next prompts bring in skills anew."""
        skills = self._assistance.skills
        if skills is not None:
            self._assistance = dataclasses.replace(self._assistance, skills=skills.session())


def _lasting(listing: Listing) -> str:
    """Give what the model can be found by another time, from another folder too."""
    return listing.spec if listing.source == "given" else listing.name


def transcript(conversation: Conversation) -> str:
    """Write a conversation as Markdown."""
    names = {Role.User: "You", Role.Assistant: conversation.model or "Model"}
    said = conversation.messages
    pieces = [f"# {conversation.title or 'Conversation'}"]
    if conversation.system:
        pieces.append(f"> {conversation.system}")
    pieces += [f"**{names.get(m.role, m.role.value)}**\n\n{m.text.strip()}" for m in said]
    return "\n\n".join(pieces) + "\n"
