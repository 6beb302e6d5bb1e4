"""The server of a page: on this machine alone, for whoever has the token of its address.

Any page that a browser shows may send requests to this machine, and any user of the machine may
connect. So each request needs the token, which is new with each start; the header ``Host`` must
name the server, so that a name that somebody lets point here (DNS rebinding) does not; no header
allows other pages to read an answer; bodies are small, and JSON; and no path of a file is ever
taken from a request, but names out of a fixed list.
"""

import errno
import hmac
import json
import secrets
import socket
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import jinja2

from ..errors import SITSError
from .explorer import Explorer, as_png

__all__ = ['PageServer']

#: Bytes of a body: a polygon of the most corners takes a twentieth.
_MOST_BYTES: Final = 1 << 20
#: Seconds after which a connection that says nothing is closed.
_SILENCE: Final = 60.0


class PageServer(ThreadingHTTPServer):
    """Server of the page of an explorer.

    Args:
        explorer: What the page shows.
        host: Address of an interface of this machine; the loopback one unless others are to
            see the page.
        port: Port; 0 for any that is free.

    Attributes:
        explorer: What the page shows.
        token: What each request must have.
        hosts: What may stand as ``Host`` of a request.

    Raises:
        SITSError: If *host* names no single address.
        OSError: If the port is in use.

    Examples:
        >>> from torchgeo_sits.exploring import PageServer
        >>> server = PageServer(None)
        >>> server.url.startswith('http://127.0.0.1:'), len(server.token)
        (True, 43)
        >>> server.server_close()
    """

    daemon_threads = True
    #: Elsewhere than on Windows another server would be let in on the same port.
    allow_reuse_address = not hasattr(socket, 'SO_EXCLUSIVEADDRUSE')

    def __init__(self, explorer: Explorer, *, host: str = '127.0.0.1', port: int = 0) -> None:
        self.explorer = explorer
        self.token = secrets.token_urlsafe(32)
        try:
            address = ip_address(host)
        except ValueError as error:
            raise SITSError(
                f'expected --host as the address of an interface, such as 127.0.0.1, got {host!r}'
            ) from error
        if address.is_unspecified:
            raise SITSError(
                f'--host {host} is all interfaces at once, which have no common name to check '
                'requests by: give the address of one'
            )
        if not 0 <= port < 65536:
            raise SITSError(f'expected --port from 0 to 65535, got {port}')
        if address.version == 6:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            reason = 'is in use' if taken else f'cannot be listened on ({error.strerror})'
            raise OSError(
                error.errno,
                f'port {port} of {host} {reason}: give another with --port, or leave it out for '
                'any that is free',
            ) from error
        name = f'[{host}]' if address.version == 6 else host
        self.hosts = {f'{name}:{self.server_port}'}
        if address.is_loopback:
            self.hosts.add(f'localhost:{self.server_port}')
        self.is_closed = False
        self.url = f'http://{name}:{self.server_port}/?token={self.token}'

    def server_close(self) -> None:
        """Close the server, and answer nothing more on connections that are still open."""
        self.is_closed = True
        super().server_close()


class _Handler(BaseHTTPRequestHandler):
    """Answer of one request."""

    server: PageServer
    protocol_version = 'HTTP/1.1'
    server_version = 'torchgeo-sits'
    sys_version = ''
    timeout = _SILENCE

    def do_GET(self) -> None:
        """Answer what is looked at."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Answer what changes something."""
        self._answer(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: addresses hold the token."""

    def _answer(self, handle: Callable[[list[str], dict[str, str]], None]) -> None:
        """Refuse who may not ask, and turn refusals into answers."""
        if self.server.is_closed:  # the session may be another server's by now
            self.close_connection = True
            return
        try:
            parts = urlsplit(self.path)
        except ValueError:
            self._refuse(HTTPStatus.BAD_REQUEST, 'this is no address')
            return
        asked = dict(parse_qsl(parts.query))
        if self.headers.get('Host', '') not in self.server.hosts:
            self._refuse(HTTPStatus.FORBIDDEN, 'this server answers to its own address only')
            return
        token = self.headers.get('X-Token') or asked.get('token', '')
        if not hmac.compare_digest(token.encode(), self.server.token.encode()):
            self._refuse(
                HTTPStatus.FORBIDDEN,
                'the token is missing or of another start: open the address that the command '
                'printed',
            )
            return
        try:
            handle(parts.path.strip('/').split('/'), asked)
        except SITSError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        except BrokenPipeError:  # the tab is gone, or asks for something else by now
            self.close_connection = True
        except OSError as error:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, error.strerror or str(error))

    def _get(self, words: list[str], asked: dict[str, str]) -> None:
        explorer = self.server.explorer
        match words:
            case ['']:
                self._send_page()
            case ['state']:
                self._send_json(explorer.state())
            case ['tile', layer, level, row, column]:
                place = _whole(level), _whole(row), _whole(column)
                self._send('image/png', as_png(explorer.tile(layer, *place, asked)))
            case ['place', row, column]:
                self._send_json(explorer.place(_whole(row), _whole(column)))
            case ['importance', row, column]:
                self._send_json(explorer.importance(_whole(row), _whole(column)))
            case ['suggestion']:
                self._send_json(explorer.suggestion(asked.get('skipped', '')))
            case ['files', name]:
                self._send('application/octet-stream', explorer.file(name).read_bytes(), name)
            case _:
                self._refuse(HTTPStatus.NOT_FOUND, 'there is nothing of this name')

    def _post(self, words: list[str], asked: dict[str, str]) -> None:
        # Of a page elsewhere, whose browser says so.
        origin = self.headers.get('Origin')
        if origin is not None and urlsplit(origin).netloc not in self.server.hosts:
            self._refuse(HTTPStatus.FORBIDDEN, 'this server answers to its own page only')
            return
        body = self._body()
        if body is None:
            return
        explorer = self.server.explorer
        match words:
            case ['classes']:
                explorer.add_classes([str(body.get('name', ''))])
            case ['labels']:
                explorer.add_label(str(body.get('name', '')), body.get('geometry'))
            case ['labels', number, 'remove']:
                explorer.remove_label(_whole(number))
            case ['map']:
                explorer.draw_map()
            case _:
                self._refuse(HTTPStatus.NOT_FOUND, 'there is nothing of this name')
                return
        self._send_json(explorer.state())

    def _body(self) -> dict[str, Any] | None:
        """Read a body of JSON; None where it was refused."""
        length = self.headers.get('Content-Length', '')
        if not length.isdecimal() or 'Transfer-Encoding' in self.headers:
            self._refuse(HTTPStatus.LENGTH_REQUIRED, 'expected a body of a known length')
        elif int(length) > _MOST_BYTES:
            self._refuse(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f'expected {_MOST_BYTES:,} bytes at most, got {int(length):,}: draw a polygon of '
                'fewer corners',
            )
        elif self.headers.get_content_type() != 'application/json':
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, 'expected application/json')
        else:
            try:
                body = json.loads(self.rfile.read(int(length)))
            except (ValueError, RecursionError) as error:
                raise SITSError(f'expected JSON, got something else ({error})') from error
            if not isinstance(body, dict):
                raise SITSError('expected an object of JSON')
            return body
        return None

    def _send_page(self) -> None:
        folder = files(__package__)
        nonce = secrets.token_urlsafe(16)
        page = jinja2.Template(folder.joinpath('page.html').read_text('utf-8'), autoescape=True)
        about = json.dumps(self.server.explorer.about()).replace('<', '\\u003c')
        text = page.render(
            nonce=nonce,
            style=folder.joinpath('page.css').read_text('utf-8'),
            script=folder.joinpath('page.js').read_text('utf-8'),
            about=about,
        )
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
            "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )
        self._send('text/html; charset=utf-8', text.encode(), policy=policy)

    def _send_json(self, content: dict[str, Any]) -> None:
        self._send('application/json', json.dumps(content, allow_nan=False).encode())

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self.close_connection = True  # a body that nobody reads would be the next request
        self._send('application/json', json.dumps({'error': why}).encode(), status=status)

    def _send(
        self,
        kind: str,
        body: bytes,
        name: str = '',
        *,
        status: HTTPStatus = HTTPStatus.OK,
        policy: str = "default-src 'none'",
    ) -> None:
        self.send_response(status)
        self.send_header('Content-Type', kind)
        self.send_header('Content-Length', str(len(body)))
        self.send_header('Cache-Control', 'no-store')
        self.send_header('Content-Security-Policy', policy)
        self.send_header('Cross-Origin-Resource-Policy', 'same-origin')
        self.send_header('Referrer-Policy', 'no-referrer')
        self.send_header('X-Content-Type-Options', 'nosniff')
        if name:
            self.send_header('Content-Disposition', f'attachment; filename="{name}"')
        if self.close_connection:
            self.send_header('Connection', 'close')
        self.end_headers()
        self.wfile.write(body)


def _whole(text: str) -> int:
    """Read a whole number of an address.

    Raises:
        SITSError: If it is none.
    """
    if not text.isdecimal() or len(text) > 9:
        raise SITSError(f'expected a whole number, got {text[:20]!r}')
    return int(text)
