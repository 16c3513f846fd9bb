"""One mesh from a hosted service: the form goes out, and answers come until one holds the mesh."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING
from urllib.parse import quote

from blazen.errors import ProviderError, TimeoutError  # noqa: A004 - the name that users expect
from blazen.options.compat3d import Compat3dOptions
from blazen.remote import url as urls
from blazen.remote.failures import is_break, shortened
from blazen.remote.service import Service
from blazen.types.generation import MeshChunk
from blazen_compat3d.answers import Answer
from blazen_compat3d.reading import Reading

if TYPE_CHECKING:
    import httpx2

_ACCEPT = "model/gltf-binary, application/json;q=0.9, text/event-stream;q=0.8, */*;q=0.5"

File = tuple[str, bytes, str]


class Exchange:
    """One request, from the form to the bytes of the mesh."""

    def __init__(self, service: Service, options: Compat3dOptions) -> None:
        self._service = service
        self._options = options
        self._deadline = service.deadline()
        self._reading = Reading(service, options, self._deadline)
        self._furthest = 0
        self._is_made = False
        """Whether it was told that the work is being done: a queue is not told of after that."""
        self._latest: Answer | None = None
        """The answer of which was told last."""
        self._job: str | None = None
        """The URL of the job, once it is known."""
        self._job_id: str | None = None
        self._found = False
        """Whether the job was there when it was looked up."""
        self._misses = 0
        self._broken: ProviderError | TimeoutError | None = None
        """What ended a stream that had named its job."""
        self.mesh = b""
        """The mesh, once all is done."""

    async def run(self, file: File, form: dict[str, str]) -> AsyncGenerator[MeshChunk, None]:
        """Make the mesh, and tell how far it is."""
        answer = Answer()
        reply = await self._posted(file, form)
        # Only now: whoever awaits the stream has its first piece, and the form is to be sent then.
        yield MeshChunk("send", 0, 1)
        if isinstance(reply, Answer):
            answer = reply
            self._note_job(answer)
        else:
            async with aclosing(self._told(reply)) as told:
                async for answer in told:
                    for chunk in self._moved(answer):
                        yield chunk
        while not answer.has_mesh:
            if self._is_done(answer):
                answer = await self._fetched(answer)
                break
            if self._job is None:
                said = f": {shortened(answer.said)}" if answer.said else ""
                raise self._reading.odd(f"holds no mesh, no URL of one and no job{said}")
            for chunk in self._moved(answer):
                yield chunk
            await self._deadline.pause(max(self._options.poll_seconds, self._reading.asked_pause))
            answer = await self._looked_up(self._job)
        if answer.mesh is None and answer.url is not None:
            yield MeshChunk("download", 0, 1)
            answer = await self._asked(answer.url, accept="*/*")
        if answer.mesh is None:
            raise self._reading.odd("says that the mesh is done, but not where it is")
        self.mesh = answer.mesh

    def _is_done(self, answer: Answer) -> bool:
        """Say whether the result can be fetched.

        "Success" in answer to the form often means that the job was taken: it is looked up once,
        unless there is a place for its result.
        """
        placed = answer.result_url is not None or self._options.content_path is not None
        return answer.state == "done" and (placed or self._found or self._job is None)

    def _moved(self, answer: Answer) -> Iterator[MeshChunk]:
        if answer is self._latest:  # the last one of a stream comes again when that has ended
            return
        self._latest = answer
        if answer.state in ("queue", "make") or answer.progress is not None:
            self._furthest = max(self._furthest, answer.progress or 0)
            self._is_made = self._is_made or answer.state != "queue"
            yield MeshChunk("make" if self._is_made else "queue", self._furthest, 100)

    async def _posted(self, file: File, form: dict[str, str]) -> httpx2.Response | Answer:
        """Send the form; what comes back is read, or is a stream that is still open."""
        url = urls.joined(self._service.base_url, self._options.path)
        # A service that knows this header makes one mesh, however often it is asked.
        headers = {"Accept": _ACCEPT, "Idempotency-Key": str(uuid.uuid4())}
        content = {"headers": headers, "data": form, "files": {self._options.image_field: file}}

        async def attempt() -> httpx2.Response | Answer:
            response = await self._service.send("POST", url, deadline=self._deadline, **content)
            if response.headers.get("content-type", "").lower().startswith("text/event-stream"):
                return response
            return await self._reading.whole(response)

        return await self._service.repeated(attempt, self._deadline, twice=False)

    async def _told(self, response: httpx2.Response) -> AsyncGenerator[Answer, None]:
        """Hear what a stream tells; where it breaks off, its job is still to be looked up."""
        try:
            async with aclosing(self._reading.events(response)) as answers:
                async for answer in answers:
                    self._note_job(answer)
                    yield answer
        except (ProviderError, TimeoutError) as error:
            if self._job is None or not is_break(error):
                raise
            self._broken = error

    async def _looked_up(self, job: str) -> Answer:
        try:
            answer = await self._asked(job, accept=_ACCEPT)
        except ProviderError as error:
            # A service of many machines may take a moment until all know a new job.
            self._misses += 1
            if error.status != 404 or self._found:
                raise
            if self._misses > self._service.retry.times:
                lost = self._broken or error
                raise lost from lost.__cause__
            return Answer(state="queue")
        self._found = True
        return answer

    async def _asked(self, url: str, *, accept: str) -> Answer:
        """Look a job up, or fetch a mesh."""

        async def attempt() -> Answer:
            response = await self._service.send(
                "GET", url, deadline=self._deadline, headers={"Accept": accept}
            )
            return await self._reading.whole(response)

        return await self._service.repeated(attempt, self._deadline, twice=True)

    async def _fetched(self, answer: Answer) -> Answer:
        """Get the result of a finished job that does not hold it."""
        if answer.result_url is not None:
            place = self._reading.there(answer.result_url)
        elif self._options.content_path is not None and self._job_id is not None:
            place = self._below(self._options.content_path, self._job_id)
        elif self._job is not None:
            place = f"{self._job.partition('?')[0]}/content"
        else:
            return answer
        return await self._asked(place, accept=_ACCEPT)

    def _note_job(self, answer: Answer) -> None:
        """Remember the first job that is named."""
        if self._job is not None or answer.has_mesh:
            return
        path = self._options.job_path
        if answer.job is not None and (path is not None or answer.job_url is None):
            usual = self._options.path.partition("?")[0] + "/{id}"
            self._job = self._below(path or usual, answer.job)
        elif answer.job_url is not None:
            self._job = self._reading.there(answer.job_url)
        else:
            return
        self._job_id = answer.job
        self._reading.begun = True
        # What is not done in time may be done later, and paid for: an error says where it is.
        self._deadline.what = f"the job {self._service.shown(self._job)}"

    def _below(self, path: str, job: str) -> str:
        return urls.joined(self._service.base_url, path.replace("{id}", quote(job, safe="")))
