"""One connection to RabbitMQ that comes back.

aio-pika has a RobustConnection that restores channels and consumers by itself. It is not used here: what
it restores can't be seen or waited for (aio-pika #231, #334, #505, #632), and a publish on it hangs while
the broker is away (#556, #636). A plain connection, and one task that makes a new one, is less code.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import aio_pika
from aio_pika.abc import AbstractConnection
from aiormq.exceptions import AMQPError, AuthenticationError, InvalidFrameError, ProbableAuthenticationError
from yarl import URL

from bus.addresses import addresses
from bus.rabbit.tap import TappedConnection
from contracts.errors import BusUnavailable, ConfigurationError

__all__ = ["LOST", "Link", "heard"]

_log = logging.getLogger(__name__)


class _SaidHere(logging.Filter):
    """Keeps back what aiormq says of each lost connection and each try for a new one, with tracebacks.

    It is said here, once, with the reason: while a broker is away for an hour, nobody reads the rest.
    """

    _WORDS = (
        "error when creating transport",
        "Cancelling cause reader exited abnormally",
        "Unexpected connection close from remote",
    )

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith(self._WORDS)


_SAID_HERE = _SaidHere()

# What a call on a connection or channel raises when that is closed, closing or broken. (A closed channel is a
# RuntimeError in aiormq, and so is a write to a transport that is going away.)
LOST: tuple[type[Exception], ...] = (AMQPError, OSError, RuntimeError, EOFError, TimeoutError)

_SHORT = 1.0  # seconds; a connection that did not last longer is not made again at once
_REFUSED = (AuthenticationError, ProbableAuthenticationError)
_UNSAFE = {"no_verify_ssl"}  # what aiormq reads in a URL and would switch verification off


class Link:
    """Keeps one connection open, from ``start`` until ``close``.

    ``url`` may name each node of a cluster (``bus.addresses``). They are tried in turn, from any of them on,
    so that processes spread over the nodes; the node that was lost is asked last.

    ``heartbeat`` and ``connect_timeout`` are in seconds. Reconnects pause ``first_pause`` seconds, twice
    as long each time up to ``longest_pause``, with jitter, so that a restarted broker does not meet
    everybody at once.
    """

    def __init__(
        self,
        url: str,
        name: str,
        *,
        connect_timeout: float,
        heartbeat: int,
        first_pause: float = 0.1,
        longest_pause: float = 5.0,
        rng: Callable[[], float] = random.random,
    ) -> None:
        logging.getLogger("aiormq.connection").addFilter(_SAID_HERE)
        self._urls = [URL(each).update_query(heartbeat=heartbeat, name=name) for each in addresses(url)]
        if any(_UNSAFE & set(each.query) for each in self._urls):
            raise ConfigurationError(
                "the URL of RabbitMQ says no_verify_ssl: certificates are always verified here; "
                "give the CA of the broker's certificate in ANTIPHON_TLS_CA"
            )
        self._name = name
        self._connect_timeout = connect_timeout
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._rng = rng
        self._next = int(rng() * len(self._urls)) % len(self._urls)
        self._connection: TappedConnection | None = None
        self._changed = asyncio.Condition()
        self._keeper: asyncio.Task[None] | None = None
        self._started = False
        self._trouble = ""  # with the last try to connect

    async def start(self) -> None:
        """Connect.

        Raises BusUnavailable after the connect timeout, ConfigurationError when the login is refused or the
        broker's certificate is not trusted.
        """
        try:
            async with asyncio.timeout(self._connect_timeout):
                connection = await self._connect()
        except TimeoutError as error:
            raise BusUnavailable(
                f"RabbitMQ at {self._where} could not be reached within {self._connect_timeout} s"
                f"{self._trouble and f' ({self._trouble})'}; is it running, and is ANTIPHON_AMQP_URL right?"
            ) from error
        except _REFUSED as error:
            raise ConfigurationError(
                f"RabbitMQ at {self._where} refused the login: {error}; check user and password in the URL"
            ) from error
        except LOST as error:
            raise ConfigurationError(
                f"TLS with RabbitMQ at {self._where} failed: {_tls_error(error)}; its certificate must be "
                "for the host name in the URL, and from the CA in ANTIPHON_TLS_CA"
            ) from error
        await self._set(connection)
        self._started = True
        self._keeper = asyncio.create_task(self._keep(connection), name=f"antiphon bus {self._name}")

    async def close(self) -> None:
        """Disconnect, and stop coming back."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
            self._keeper = None
        connection = self._connection
        await self._set(None)
        if connection is not None:
            await _close(connection)

    @property
    def running(self) -> bool:
        """Whether it was started and not closed."""
        return self._keeper is not None

    @property
    def connected(self) -> bool:
        """Whether there is an open connection now."""
        return self._connection is not None and _is_open(self._connection)

    @property
    def ready(self) -> bool:
        """Whether there is an open connection, on which the broker takes publishes."""
        connection = self._connection
        return connection is not None and not connection.blocked and _is_open(connection)

    @property
    def blocked(self) -> bool:
        """Whether the broker has said that it takes no publishes for now (Connection.Blocked)."""
        connection = self._connection
        return connection is not None and connection.blocked and _is_open(connection)

    async def connection(self) -> TappedConnection:
        """The open connection; waits for the next one while there is none."""
        async with self._changed:
            while self._connection is None or not _is_open(self._connection):
                await self._changed.wait()
            return self._connection

    async def unblocked(self) -> TappedConnection:
        """The open connection, once the broker takes publishes on it."""
        while True:
            connection = await self.connection()
            if connection.transport is None or not connection.blocked:
                return connection
            # A blocked connection that closes never gets ready: look again now and then.
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await connection.transport.ready()
            await asyncio.sleep(0)  # what blocks was seen here first: aiormq may not have read it yet

    @property
    def _where(self) -> str:
        return ", ".join(f"{each.host}:{each.port or 5672}" for each in self._urls)

    async def _set(self, connection: TappedConnection | None) -> None:
        self._connection = connection
        async with self._changed:
            self._changed.notify_all()

    async def _keep(self, connection: TappedConnection) -> None:
        now = asyncio.get_running_loop().time
        while True:
            began = now()
            why = await _lost(connection)
            _log.warning(
                "RabbitMQ at %s: the %s connection was lost (%s); connecting again",
                self._where, self._name, why,
            )  # fmt: skip
            await self._set(None)
            await _close(connection)
            if now() - began < _SHORT:  # whatever ends it at once must not do so hundreds of times a second
                await asyncio.sleep(self._first_pause * (0.5 + self._rng()))
            connection = await self._connect_again()
            await self._set(connection)
            _log.info("RabbitMQ at %s: the %s connection is back", self._where, self._name)

    async def _connect_again(self) -> TappedConnection:
        while True:
            try:
                return await self._connect()
            except _REFUSED as error:
                # The password was right before: keep asking, it may be a broker that is still starting.
                _log.error("RabbitMQ at %s refused the login: %s", self._where, error)
                await asyncio.sleep(self._longest_pause)

    async def _connect(self) -> TappedConnection:
        """Try until it works or the login is refused."""
        pause, patience = self._first_pause, self._connect_timeout / len(self._urls)
        for tried in itertools.count(1):
            url = self._urls[self._next]
            self._next = (self._next + 1) % len(self._urls)
            try:
                # A node that does not even refuse must leave time for the others.
                async with asyncio.timeout(patience):
                    return await aio_pika.connect(url, connection_class=TappedConnection)
            except _REFUSED:
                raise
            except LOST as error:
                if not self._started and _tls_error(error) is not None:
                    raise  # waiting makes no certificate right; later it may be about to be replaced
                # Once: it is said again when the connection is back.
                level = logging.WARNING if tried == 1 else logging.DEBUG
                self._trouble = _trouble(error, url)
                _log.log(
                    level, "RabbitMQ at %s:%s does not answer yet: %s", url.host, url.port, self._trouble
                )
            if tried % len(self._urls) == 0:
                await asyncio.sleep(pause * (0.5 + self._rng()))
                pause = min(2 * pause, self._longest_pause)
        raise AssertionError("counting has no end")


@asynccontextmanager
async def heard() -> AsyncIterator[None]:
    """aiormq ends what waits on a connection that fell silent with CancelledError: nobody cancelled us."""
    try:
        yield
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise ConnectionError("RabbitMQ was not heard for too long") from error


def _trouble(error: BaseException, url: URL) -> str:
    """What was wrong with a try to connect. aiormq keeps back why the broker closes at once."""
    if not isinstance(error, InvalidFrameError):
        return str(error) or type(error).__name__
    vhost = url.path[1:] or "/"
    return f"it does not let this user into the vhost {vhost!r}: is it there, and has the user a right in it?"


def _tls_error(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """What was wrong with a certificate, where that is behind it: aiormq wraps errors, at times in a ring."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def _is_open(connection: TappedConnection) -> bool:
    """``is_closed`` says only whether we closed it; ``connected`` is cleared when anybody does."""
    return connection.connected.is_set() and not connection.is_closed


async def _lost(connection: TappedConnection) -> str:
    """Why the connection is gone, once it is. Its ``closed()`` does not return when the broker closed it."""
    gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def note(_connection: AbstractConnection | None, error: BaseException | None) -> None:
        if not gone.done():
            gone.set_result(str(error or "") or type(error).__name__)

    connection.close_callbacks.add(note)
    return await gone if _is_open(connection) else "it was closed at once"


async def _close(connection: TappedConnection) -> None:
    try:
        async with heard(), asyncio.timeout(5.0):
            await connection.close()
    except LOST as error:
        _log.debug("closing a connection that was broken already: %r", error)
