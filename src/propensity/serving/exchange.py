"""Exchanges the bundle, the log and the tokens of a running service when their files change.

The new scorer is opened beside the one in use and takes its place between two blocks. A request is validated and scored
by the same scorer, so no request is dropped or scored by halves. A bundle that cannot be used leaves the old one in
use. A log that cannot be used is another matter: who was erased is not known then, so customers are no longer scored
by their ids.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from propensity import audit
from propensity.data.log_folder import log_mark
from propensity.errors import ConfigurationError, PropensityError
from propensity.serving.bundle import open_bundle
from propensity.serving.file_mark import Mark, file_mark, folder_mark
from propensity.serving.online import OnlineScorer
from propensity.serving.service_log import say
from propensity.serving.service_metrics import ServiceMetrics
from propensity.serving.tokens import Token, read_tokens
from propensity.serving.verify import MANIFEST, sha256

TRIES, PAUSE = 3, 0.2  # a folder that is being replaced may be missing for an instant; seconds


class Marks(NamedTuple):
    """What changes when files are replaced.

    Attributes
    ----------
    bundle, log, tokens : tuple
        Inode, time of change and size of each file; empty without files.
    """

    bundle: Mark
    log: Mark
    tokens: Mark


class UnavailableError(Exception):
    """The log has changed and cannot be used, so customers are not scored by id."""


def record(scorer: OnlineScorer) -> None:
    """Append a line to the audit log: which bundle and log this process serves from now on.

    Parameters
    ----------
    scorer : OnlineScorer
        In use from now on.

    Raises
    ------
    ConfigurationError
        If the audit log that `PROPENSITY_AUDIT` names cannot be written. The one beside the bundle may lie in a
        read-only folder; the service's log reports it then.

    Notes
    -----
    Requests are counted by `propensity.serving.scoring_record`, and are in the service's log, without customers.
    """
    folder = scorer.bundle.folder
    entry = {"model": str(folder), "digest": scorer.bundle.digest, "process": os.getpid()}
    if scorer.log is not None:
        entry |= {"log": str(scorer.log_folder), "fingerprint": scorer.log.fingerprint}
    try:
        audit.append(folder.parent, "serve", entry)
    except ConfigurationError:
        if os.environ.get(audit.VARIABLE):
            raise
        say("no audit log", logging.WARNING)


class Exchange:
    """The scorer and the tokens that a service uses now.

    Parameters
    ----------
    scorer : OnlineScorer
        Opened before.
    metrics : ServiceMetrics
        Counts the exchanges.
    digest : str, optional
        Digest that every bundle must have.
    tokens : str or Path, optional
        File of tokens; None for a service without authentication.
    """

    def __init__(
        self,
        scorer: OnlineScorer,
        metrics: ServiceMetrics,
        digest: str | None = None,
        tokens: str | Path | None = None,
    ) -> None:
        self.scorer, self.metrics, self.digest = scorer, metrics, digest
        self.tokens_file = None if tokens is None else Path(tokens)
        self.tokens: list[Token] | None = None if self.tokens_file is None else read_tokens(self.tokens_file)
        self.tried = self._opened_marks()
        self.log_problem = False
        self.lock: asyncio.Lock | None = None
        self.thread: ThreadPoolExecutor | None = None
        metrics.serve(scorer.bundle.digest, scorer.bundle.champion)

    def start(self) -> None:
        """Prepare for the running event loop."""
        self.lock, self.thread = asyncio.Lock(), ThreadPoolExecutor(1, "exchange")

    def stop(self) -> None:
        """Wait for an exchange that is under way."""
        if self.thread is not None:
            self.thread.shutdown()
        self.lock = self.thread = None

    def _opened_marks(self) -> Marks:
        """Marks of the files that the scorer was opened from; other ones where they have changed since."""
        marks, bundle = self.marks(), self.scorer.bundle
        same = sha256(bundle.folder / MANIFEST) == bundle.digest
        log = () if self.scorer.log_mark is None else (marks.log[0], *self.scorer.log_mark)
        return Marks(marks.bundle if same else (), log, marks.tokens)

    def marks(self) -> Marks:
        """Marks of the files as they are now."""
        return Marks(folder_mark(self.scorer.bundle.folder), self._log_mark(), file_mark(self.tokens_file))

    def _log_mark(self) -> Mark:
        log = self.scorer.log_folder
        return () if log is None else (os.path.realpath(log), *log_mark(log))

    async def current(self, by_id: bool) -> OnlineScorer:
        """The scorer for a request.

        Parameters
        ----------
        by_id : bool
            Whether the request names customers of the log. Then the log is looked at first, so that a customer is
            unknown from the moment in which an erasure has ended.

        Returns
        -------
        OnlineScorer
            To validate and to score the request.

        Raises
        ------
        UnavailableError
            If the log has changed and cannot be used.
        """
        if by_id and self._log_mark() != self.tried.log:
            await self.refresh()
        if by_id and self.log_problem:
            raise UnavailableError
        return self.scorer

    async def refresh(self) -> bool:
        """Take over what has changed.

        Returns
        -------
        bool
            Whether all files are in use as they are.
        """
        if self.lock is None or self.thread is None:
            raise RuntimeError("the exchange has not been started")
        async with self.lock:
            marks = self.marks()
            if marks.tokens != self.tried.tokens:
                self._take_tokens()
            if marks[:2] != self.tried[:2]:
                await asyncio.get_running_loop().run_in_executor(self.thread, self._take_files, marks)
            self.tried = Marks(*self.tried[:2], marks.tokens)
        return not self.log_problem and self.marks() == self.tried

    async def watch(self, seconds: float) -> None:
        """Look for changes until the task is cancelled.

        Parameters
        ----------
        seconds : float
            Between two looks.
        """
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.refresh()
            except Exception as error:  # the watch outlives a bug in what it opens
                say("exchange failed", logging.ERROR, error=type(error).__name__)

    def _take_tokens(self) -> None:
        """Read the tokens again; unreadable ones leave the old ones valid."""
        if self.tokens_file is None:
            return
        try:
            self.tokens = read_tokens(self.tokens_file)
        except PropensityError:
            self._note("tokens", "refused")
        else:
            self._note("tokens", "taken")

    def _take_files(self, marks: Marks) -> None:
        """Open what has changed, and put it in use."""
        bundle, log = marks.bundle != self.tried.bundle, marks.log != self.tried.log
        if bundle and (scorer := self._opened("bundle", self._open_bundle)) is not None:
            self.scorer, self.log_problem = scorer, False
            self.metrics.serve(scorer.bundle.digest, scorer.bundle.champion)
        elif log:
            scorer = self._opened("log", self.scorer.reopened)
            self.log_problem = scorer is None
            self.scorer = scorer or self.scorer
        self.tried = Marks(marks.bundle, marks.log, self.tried.tokens)

    def _open_bundle(self) -> OnlineScorer:
        """A scorer with the bundle in the folder, which must not change while it is read."""
        folder, scorer = self.scorer.bundle.folder, self.scorer
        for _ in range(TRIES):
            mark = folder_mark(folder)
            opened = OnlineScorer(open_bundle(folder, self.digest), scorer.log_folder, scorer.verify)
            if folder_mark(folder) == mark:
                return opened
        raise ConfigurationError(f"{folder} changes while it is read; export again")

    def _opened(self, what: str, opening: Callable[[], OnlineScorer]) -> OnlineScorer | None:
        """What `opening` returns; None if that cannot be used."""
        problem = ""
        for attempt in range(TRIES):
            try:
                scorer = opening()
                record(scorer)
            except PropensityError as error:
                problem = type(error).__name__
            except OSError as error:
                problem = error.strerror or type(error).__name__
            else:
                self._note(what, "taken", digest=scorer.bundle.digest)
                return scorer
            if attempt < TRIES - 1:
                time.sleep(PAUSE)
        self._note(what, "refused", problem=problem)
        return None

    def _note(self, what: str, result: str, **fields: str) -> None:
        """Count and log an exchange."""
        self.metrics.exchanges.labels(what, result).inc()
        say(f"{what} {result}", logging.INFO if result == "taken" else logging.ERROR, **fields)
