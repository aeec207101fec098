"""Dockerfile and compose file: their steps work outside a container too, and the service they start stops when told."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose as composed
from hydra import initialize_config_dir

from propensity.config import conf_folder
from serving.exported import Exported

REPOSITORY = Path(__file__).parents[2]
TOKEN = "admin-0123456789abcdef"


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile."""
    lines = [line for line in (REPOSITORY / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def of(word: str) -> list[str]:
    return [rest for name, rest in instructions() if name == word]


def service() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())
    return content["services"]["propensity"]


def sources() -> list[str]:
    """What the first stage copies from the repository."""
    copies = [shlex.split(each) for each in of("COPY") if "--from" not in each]
    return [name for words in copies for name in words[:-1]]


def command() -> list[str]:
    """The command of the container that the compose file starts."""
    return [*json.loads(of("ENTRYPOINT")[0]), *service()["command"]]


def test_the_image_copies_what_is_there_and_what_the_ignore_file_lets_through() -> None:
    ignore = (REPOSITORY / ".dockerignore").read_text().splitlines()
    let_through = [line[1:] for line in ignore if line.startswith("!")]
    assert ignore[0] == "*" and sorted(sources()) == sorted(let_through)
    for name in sources():
        assert (REPOSITORY / name).exists(), name
    assert not any(fnmatch.fnmatch(secret, each) for secret in ("tokens.yaml", "data", "runs") for each in let_through)


def test_the_image_installs_extras_and_versions_that_exist() -> None:
    text = (REPOSITORY / "pyproject.toml").read_text()
    (extras,) = re.findall(r'"\.\[([\w,]+)\]"', " ".join(of("RUN")))
    for extra in extras.split(","):
        assert re.search(rf"^{extra} = \[", text, flags=re.M)
    installs = [each for each in of("RUN") if "pip install" in each]
    assert installs and all("-c constraints.txt" in each for each in installs)


def test_the_container_has_no_rights_that_it_does_not_need() -> None:
    user, content = of("USER"), service()
    assert user and user[-1] not in ("root", "0")
    assert content["read_only"] and content["cap_drop"] == ["ALL"] and content["mem_limit"]
    assert all(volume.endswith(":ro") for volume in content["volumes"])
    assert all(port.startswith("127.0.0.1:") for port in content["ports"])


def test_the_container_runs_a_command_whose_settings_exist_and_whose_files_are_mounted() -> None:
    words = command()
    assert words[:2] == ["propensity", "serve"]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        cfg = composed("serve", words[2:])
    mounts = [volume.split(":")[1] for volume in service()["volumes"]]
    assert Path(cfg.bundle).parent.as_posix() in mounts and Path(cfg.log).parent.as_posix() in mounts
    assert cfg.tokens == f"/run/secrets/{service()['secrets'][0]}"
    assert cfg.port == int(of("EXPOSE")[0]) and f":{cfg.port}/ready" in of("HEALTHCHECK")[0]
    assert service()["ports"][0].endswith(f":{cfg.port}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(url: str, token: str | None = None) -> tuple[int, bytes]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def counted_together(base: str, line: str, seconds: float = 30.0) -> bool:
    """Whether the metrics of all workers reach a line; a worker counts a request after its response has gone."""
    end = time.monotonic() + seconds
    while line not in get(f"{base}/metrics", TOKEN)[1].decode():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the steps of the first stage install, without the packages that it depends on."""
    folder = tmp_path_factory.mktemp("image")
    (folder / "source").mkdir()
    ignored = shutil.ignore_patterns("__pycache__", "*.nbi", "*.nbc", "*.egg-info")
    for name in sources():
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, folder / "source" / name, ignore=ignored)
        else:
            shutil.copy(REPOSITORY / name, folder / "source")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "install", "--no-deps"]
    install = [*pip, "--no-build-isolation", "--target", str(folder / "site"), str(folder / "source")]
    done = subprocess.run(install, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.mark.slow
def test_the_container_s_command_serves_with_two_workers_and_stops_in_spite_of_half_sent_bodies(
    site: Path, exported: Exported, tmp_path: Path
) -> None:
    tokens, port = tmp_path / "tokens", free_port()
    tokens.write_text(f"tokens:\n- {{name: operator, token: {TOKEN}, roles: [admin]}}\n")
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        cfg = composed("serve", command()[2:])
    ours = {
        str(cfg.bundle): str(exported.bundle),
        str(cfg.log): str(exported.log),
        str(cfg.tokens): str(tokens),
        f"port={cfg.port}": f"port={port}",
    }
    words = command()[2:]
    for theirs, own in ours.items():
        words = [word.replace(theirs, own) for word in words]
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHONPATH", "PROPENSITY", "PROMETHEUS"))}
    environment = clean | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    argv = [sys.executable, str(site / "bin/propensity"), "serve", *words, "read_timeout=300", "idle_timeout=300"]
    log = tmp_path / "log"
    with log.open("w") as stream:
        server = subprocess.Popen(argv, cwd=tmp_path, env=environment, stderr=stream)
    open_connections = []
    try:
        base = f"http://127.0.0.1:{port}"
        wait_until_ready(base, server, log)
        check = json.loads(of("HEALTHCHECK")[0].partition("CMD ")[2])
        probe = [sys.executable, *(word.replace(f":{cfg.port}/", f":{port}/") for word in check[1:])]
        assert subprocess.run(probe, timeout=60).returncode == 0
        assert get(f"{base}/metrics")[0] == 401
        for _ in range(20):
            assert get(f"{base}/model", TOKEN)[0] == 200
        assert counted_together(base, 'route="/model",status="200"} 20.0')
        for _ in range(40):
            connection = socket.create_connection(("127.0.0.1", port), timeout=60)
            head = f"POST /score HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 100\r\n\r\n{{"
            connection.sendall(head.encode())
            open_connections.append(connection)
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=60)  # far below read_timeout
        assert {answer(connection) for connection in open_connections} <= {b"HTTP/1.1 503", b""}
    finally:
        server.kill()
        server.wait()
        for connection in open_connections:
            connection.close()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {line["event"] for line in lines} >= {"start", "request"}
    assert TOKEN not in log.read_text()


def answer(connection: socket.socket) -> bytes:
    """Read the first bytes of an answer: none where the server closed or reset the connection."""
    try:
        return connection.recv(12)
    except ConnectionResetError:
        return b""


def wait_until_ready(base: str, server: subprocess.Popen[Any], log: Path) -> None:
    """Wait until the service takes requests."""
    for _ in range(600):
        assert server.poll() is None, log.read_text()
        try:
            if get(f"{base}/ready")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.2)
    raise TimeoutError(log.read_text())
