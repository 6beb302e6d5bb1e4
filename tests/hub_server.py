"""A stand-in for the Hub of Hugging Face on this machine, as much of it as the package uses."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from huggingface_hub import constants


class Hub:
    """Repositories in memory, and how the server answers.

    Attributes:
        address: Address of the server.
        files: Files of each repository and commit.
        branches: Commit of each repository and branch.
        cut: Send half of each file's bytes once, and nothing after that.
        status: Status to answer all requests with, None for the right one.
        created: What repositories were made with.
    """

    def __init__(self) -> None:
        self.address = ''
        self.files: dict[tuple[str, str], dict[str, bytes]] = {}
        self.branches: dict[tuple[str, str], str] = {}
        self.cut = False
        self.status: int | None = None
        self.created: list[dict] = []
        self.begun: set[str] = set()

    def commit(self, repo: str, files: dict[str, bytes], branch: str = 'main') -> str:
        """Add files to a branch."""
        old = self.files.get((repo, self.branches.get((repo, branch), '')), {})
        name = hashlib.sha1(repr((repo, branch, old, files)).encode()).hexdigest()
        self.files[repo, name] = {**old, **files}
        self.branches[repo, branch] = name
        return name


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def answer(self, status: int, content: bytes = b'', **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace('_', '-'), value)
            self.send_header('Content-Length', str(len(content)))
            self.end_headers()
            if self.command != 'HEAD':
                self.wfile.write(content)

        def find(self) -> tuple[bytes, str] | None:
            """The file that is asked for, and its commit; None where that was answered."""
            parts = self.path.strip('/').split('/')
            if parts[2:3] != ['resolve']:  # what else the library asks for
                self.answer(404)
                return None
            org, name, _, revision, *path = parts
            repo = f'{org}/{name}'
            if not any(repo == known for known, _ in hub.files):
                self.answer(404, X_Error_Code='RepoNotFound')
                return None
            commit = hub.branches.get((repo, revision), revision)
            if (repo, commit) not in hub.files:
                self.answer(404, X_Error_Code='RevisionNotFound')
                return None
            content = hub.files[repo, commit].get('/'.join(path))
            if content is None:
                self.answer(404, X_Error_Code='EntryNotFound', X_Repo_Commit=commit)
                return None
            return content, commit

        def do_HEAD(self) -> None:
            if hub.status is not None:
                self.answer(hub.status)
            elif found := self.find():
                content, commit = found
                etag = f'"{hashlib.sha256(content).hexdigest()}"'
                self.answer(200, content, ETag=etag, X_Repo_Commit=commit)

        def do_GET(self) -> None:
            if not hub.cut or self.path.endswith('.json'):
                self.do_HEAD()
            elif self.path not in hub.begun and (found := self.find()):
                hub.begun.add(self.path)
                self.send_response(200)
                self.send_header('Content-Length', str(len(found[0])))
                self.end_headers()
                self.wfile.write(found[0][: len(found[0]) // 2])

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers['Content-Length']))
            _, api, *rest = self.path.partition('?')[0].split('/')
            assert api == 'api'
            if hub.status is not None:
                self.answer(hub.status, b'{}')
            elif rest == ['repos', 'create']:
                made = json.loads(content)
                hub.created.append(made)
                repo = f'{made["organization"]}/{made["name"]}'
                hub.commit(repo, {})
                self.say({'url': f'{hub.address}/{repo}'})
            elif rest == ['validate-yaml']:
                self.say({})
            elif rest[3] == 'preupload':
                if ('/'.join(rest[1:3]), rest[4]) not in hub.branches:
                    self.answer(404, X_Error_Code='RevisionNotFound')
                    return
                files = json.loads(content)['files']
                self.say(
                    {
                        'files': [
                            {'path': f['path'], 'uploadMode': 'regular', 'shouldIgnore': False}
                            for f in files
                        ]
                    }
                )
            elif rest[3] == 'commit':
                lines = [json.loads(line) for line in content.splitlines()]
                files = {
                    line['value']['path']: base64.b64decode(line['value']['content'])
                    for line in lines
                    if line['key'] == 'file'
                }
                repo = '/'.join(rest[1:3])
                oid = hub.commit(repo, files, rest[4])
                self.say({'commitUrl': f'{hub.address}/{repo}/commit/{oid}', 'commitOid': oid})

        def say(self, content: dict) -> None:
            self.answer(200, json.dumps(content).encode())

    return Handler


@contextmanager
def served_hub(cache: Path) -> Iterator[Hub]:
    """Serve a Hub without repositories, and have this process ask it, with a cache of its own."""
    hub = Hub()
    server = ThreadingHTTPServer(('127.0.0.1', 0), _handler(hub))
    hub.address = f'http://127.0.0.1:{server.server_port}'
    Thread(target=server.serve_forever, daemon=True).start()
    with pytest.MonkeyPatch.context() as patch:
        for name in ('no_proxy', 'NO_PROXY'):
            patch.setenv(name, '127.0.0.1')
        # Read from the environment when the library was imported.
        template = hub.address + '/{repo_id}/resolve/{revision}/{filename}'
        patch.setattr(constants, 'ENDPOINT', hub.address)
        patch.setattr(constants, 'HUGGINGFACE_CO_URL_TEMPLATE', template)
        patch.setattr(constants, 'HF_HUB_CACHE', str(cache))
        patch.setattr(constants, 'HF_TOKEN_PATH', str(cache / 'no token'))
        try:
            yield hub
        finally:
            server.shutdown()
            server.server_close()
