"""Who may ask the server, and how it is started and ended."""

import signal
import socket
import threading

import pytest

from torchgeo_sits.errors import SITSError
from torchgeo_sits.exploring import PageServer

from .conftest import asked, label_stripes, served


@pytest.fixture
def url(explorer):
    """Address of a server in this process."""
    label_stripes(explorer, rows=(20,))
    server = PageServer(explorer)
    thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.02})
    thread.start()
    yield server.url
    server.shutdown()
    thread.join()
    server.server_close()


def raw(url, text):
    """Send bytes as they are; the first line of the answer."""
    host, _, port = url.split('/')[2].partition(':')
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(text.encode('latin-1'))
        return connection.makefile('rb').readline().decode()


def test_page_holds_all_it_needs(url):
    status, page = asked(url)
    assert status == 200
    text = page.decode()
    assert 'http://' not in text.replace('xmlns="http://', '')
    assert 'https://' not in text
    assert ' src=' not in text


@pytest.mark.parametrize('path', ['', 'state', 'tile/map/0/0/0', 'files/labels.gpkg', 'no/such'])
@pytest.mark.parametrize('token', ['', 'x', 'x' * 43, '\xfc'])
def test_without_the_token_nothing_is_told(url, path, token):
    status, answer = asked(url, path, X_Token=token)
    assert status == 403
    assert 'token' in answer['error']


def test_without_the_token_nothing_is_changed(url, explorer):
    before = explorer.state()
    assert asked(url, 'labels/1/remove', {}, X_Token='x')[0] == 403
    assert explorer.state() == before


@pytest.mark.parametrize('host', ['evil.example', '127.0.0.1', '127.0.0.1:80', '127.0.0.2:{port}'])
def test_other_hosts_are_refused(url, host):
    port = url.split('/')[2].partition(':')[2]
    status, answer = asked(url, 'state', Host=host.format(port=port))
    assert (status, answer['error']) == (403, 'this server answers to its own address only')
    assert asked(url, 'state', Host=f'localhost:{port}')[0] == 200


def test_requests_of_other_pages_change_nothing(url, explorer):
    before = explorer.state()
    assert asked(url, 'labels/1/remove', {}, Origin='http://evil.example')[0] == 403
    assert asked(url, 'labels/1/remove', {}, Origin='null')[0] == 403
    assert asked(url, 'labels/1/remove', {}, Content_Type='text/plain')[0] == 415
    assert explorer.state() == before
    root = url.partition('/?')[0]
    assert asked(url, 'labels/1/remove', {}, Origin=root)[0] == 200


@pytest.mark.parametrize(
    'name', ['session.json', '.lock', '..%2f..%2fetc%2fpasswd', '../session.json', '%2e%2e', 'x']
)
def test_files_are_those_of_a_list_wherever_a_path_leads(url, name):
    status, answer = asked(url, f'files/{name}')
    assert status in (400, 404), answer
    assert asked(url, 'files/labels.gpkg')[0] == 200


@pytest.mark.parametrize(
    ('path', 'body', 'status'),
    [
        ('labels', b'no json', 400),
        ('labels', b'[]', 400),
        ('labels', b'[' * 200_000, 400),
        ('labels', {'name': 'west'}, 400),
        ('labels', {'name': 'west', 'geometry': {'type': 'Point', 'coordinates': [1e300, 1]}}, 400),
        ('labels', b'{"a": "' + b'x' * (1 << 20) + b'"}', 413),
        ('labels/99/remove', {}, 400),
        ('labels/x/remove', {}, 400),
        ('classes', {'name': ''}, 400),
        ('no', {}, 404),
    ],
)
def test_bodies_that_say_nothing_are_refused_in_a_line(url, explorer, path, body, status):
    before = explorer.state()
    found, answer = asked(url, path, body)
    assert found == status
    assert 0 < len(answer['error']) < 300
    assert explorer.state() == before


@pytest.mark.parametrize(
    'path',
    ['tile/map/0/0/9', 'tile/map/99/0/0', 'tile/map/-1/0/0', 'tile/x/0/0/0', 'tile/overlay0/0/0/0',
     'tile/image/0/0/0', 'tile/image/0/0/0?date=99999&picture=B04', 'tile/similarity/0/0/0?at=1',
     'tile/similarity/0/0/0?at=999,1', 'place/999/0', 'place/a/b', 'importance/1/1'],
)  # fmt: skip
def test_places_that_are_not_there_are_refused(url, path):
    status, answer = asked(url, path)
    assert status == 400, answer


def test_requests_without_a_length_or_an_address_are_refused(url):
    host, token = url.split('/')[2], url.partition('=')[2]
    head = f'Host: {host}\r\nX-Token: {token}\r\nContent-Type: application/json\r\n'
    assert ' 411 ' in raw(url, f'POST /labels HTTP/1.1\r\n{head}\r\n')
    assert ' 411 ' in raw(url, f'POST /labels HTTP/1.1\r\n{head}Content-Length: -5\r\n\r\n')
    chunked = f'{head}Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{{}}'
    assert ' 411 ' in raw(url, f'POST /labels HTTP/1.1\r\n{chunked}')
    assert ' 400 ' in raw(url, f'GET http://[x HTTP/1.1\r\n{head}\r\n')


def test_port_in_use_and_wide_open_hosts_are_refused(explorer):
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f'port {port} of 127.0.0.1 is in use: give another'):
            PageServer(explorer, port=port)
    for host, message in (('0.0.0.0', 'all interfaces'), ('::', 'all'), ('example', 'address')):
        with pytest.raises(SITSError, match=message):
            PageServer(explorer, host=host)
    with pytest.raises(SITSError, match='from 0 to 65535'):
        PageServer(explorer, port=70_000)


def test_a_killed_server_loses_nothing(made, tmp_path):
    session = tmp_path / 's'
    options = '--embeddings', str(made.embeddings), '--classes', 'west,middle,east'
    with served(made, session, *options) as (process, url):
        for name, column in (('west', 10), ('middle', 35)):
            point = {'type': 'Point', 'coordinates': [column, 20]}
            status, state = asked(url, 'labels', {'name': name, 'geometry': point})
            assert (status, len(state['classes'])) == (200, 3)
        process.kill()
        process.join()
    with served(made, session) as (process, url):  # the session knows its embeddings
        after = asked(url, 'state')[1]
        assert after['labels'] == state['labels']
        assert after['has_map']
        process.terminate()
        process.join(30)
        assert process.exitcode == 128 + signal.SIGTERM
    error = session.with_suffix('.log').read_text()
    assert f"The labels are saved in '{session}'" in error
    assert 'Traceback' not in error
