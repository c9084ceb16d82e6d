"""Ray is asked for by name, with its reports off, and only where it is wanted."""

from __future__ import annotations

import os
import signal
import socketserver
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from edgedet.cli import main
from edgedet.cluster.session import open_cluster
from edgedet.errors import ClusterError, MissingDependencyError


class Connection(ModuleType):
    """Ray, as far as a connection needs it."""

    def __init__(self, fault: Exception | None = None, cores: float = 6) -> None:
        super().__init__("ray")
        self.fault, self.cores = fault, cores
        self.asked: dict[str, Any] = {}
        self.closed = 0
        self.reports = ""

    def init(self, **options: Any) -> None:
        self.asked = options
        self.reports = os.environ["RAY_USAGE_STATS_ENABLED"]
        if self.fault is not None:
            raise self.fault

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": self.cores} if self.cores else {}

    def shutdown(self) -> None:
        self.closed += 1


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("RAY_USAGE_STATS_ENABLED", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        monkeypatch.setenv(name, "before")
        monkeypatch.delenv(name)

    def use(ray: Connection) -> Connection:
        monkeypatch.setitem(sys.modules, "ray", ray)
        return ray

    return use


def test_its_reports_are_off_and_it_is_closed(connect: Any) -> None:
    ray = connect(Connection())
    with open_cluster("local", workers=3) as cluster:
        assert (cluster.workers, cluster.fixed) == (3, True)
        assert not ray.closed
    assert ray.reports == "0" and ray.closed == 1
    assert ray.asked["num_cpus"] == 3 and ray.asked["include_dashboard"] is False
    assert not os.path.exists(ray.asked["_temp_dir"])  # noqa: PTH110


def test_ray_takes_neither_the_signal_that_unwinds_nor_the_folder_of_others(
    connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Greedy(Connection):
        def init(self, **options: Any) -> None:
            super().init(**options)
            self.temporary = os.environ["TMPDIR"]
            signal.signal(signal.SIGTERM, signal.SIG_IGN)

    ray = connect(Greedy())
    # So deep that no socket could lie in it.
    monkeypatch.setattr(tempfile, "tempdir", "/tmp/" + "deep/" * 10)
    monkeypatch.setenv("TMPDIR", "/mine")
    before = signal.getsignal(signal.SIGTERM)
    with open_cluster("local", workers=1):
        own = Path(ray.asked["_temp_dir"]).parent
        assert own.parent == Path("/tmp") and own.stat().st_mode & 0o777 == 0o700
        assert Path(ray.temporary).parent == own and os.environ["TMPDIR"] == "/mine"
        assert signal.getsignal(signal.SIGTERM) is before
    assert not own.exists()


class Greeted(socketserver.BaseRequestHandler):
    """Answers a greeting as gRPC does: with a frame of settings (RFC 9113, 6.5)."""

    answer = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])

    def handle(self) -> None:
        self.request.recv(100)
        self.request.sendall(self.answer)


class Web(Greeted):
    answer = b"HTTP/1.0 400 Bad request\r\n\r\n"


@pytest.fixture
def head() -> Iterator[str]:
    """An address that answers as a cluster's head does."""
    yield from listening(Greeted)


@pytest.fixture
def listeners(head: str) -> Iterator[dict[str, str]]:
    """Addresses of a head and of a web server, by what listens there."""
    for web in listening(Web):
        yield {"head": head, "web": web}


def listening(handler: type[Greeted]) -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize(("wanted", "given"), [(None, 6), (2, 2), (50, 6)])
def test_a_cluster_has_as_many_workers_as_cores_at_most(
    connect: Any, head: str, wanted: int | None, given: int
) -> None:
    connect(Connection())
    with open_cluster(head, workers=wanted) as cluster:
        assert (cluster.workers, cluster.fixed) == (given, False)


@pytest.mark.parametrize(
    ("address", "ray", "sentence"),
    [
        (
            "head",
            Connection(ConnectionError("timed out")),
            r"no Ray cluster answers at 127\.0\.0\.1:\d+ \(timed out\); start one",
        ),
        (
            "auto",
            Connection(RuntimeError("Version mismatch:\n 2.52, 2.60")),
            r"\(Version mismatch: 2\.52, 2\.60\); i",
        ),
        ("auto", Connection(cores=0), r"the cluster at auto has no CPU cores"),
        ("local", Connection(Exception("node timed out")), r"Ray does not start on this machine \(node timed out"),
        # What Ray would try for a quarter of an hour.
        ("127.0.0.1:1", Connection(), r"no Ray cluster answers at 127\.0\.0\.1:1 \(.*refused"),
        ("web", Connection(), r"what answers at 127\.0\.0\.1:\d+ is no Ray cluster; start one"),
        (
            "127.0.0.1:99999999",
            Connection(),
            r"--ray 127\.0\.0\.1:99999999 is no address of a",
        ),
        ("foo", Connection(), r"--ray foo is no address of a cluster"),
        ("ray://10.0.0.5:10001", Connection(), r"is the address of Ray's client"),
    ],
)
def test_what_keeps_it_away_is_one_sentence(
    connect: Any, listeners: dict[str, str], address: str, ray: Connection, sentence: str
) -> None:
    connect(ray)
    with (
        pytest.raises(ClusterError, match=sentence) as raised,
        open_cluster(listeners.get(address, address)),
    ):
        pass
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("token", [False, True])
def test_an_address_is_told_of_the_token_that_ray_asks_for(
    connect: Any, head: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: bool
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    if token:
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray/auth_token").write_text("secret")
    connect(Connection())
    with open_cluster(head):
        assert os.environ.get("RAY_AUTH_MODE") == ("token" if token else None)


def test_without_it_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    told = pytest.raises(MissingDependencyError, match=r"needs the package ray.*pip install 'edgedet\[ray\]'")
    with told, open_cluster("auto"):
        pass


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--workers", "2"], "--workers is for --ray"),
        (["--ray", "local", "--threads", "2"], "--threads is for one machine"),
    ],
)
@pytest.mark.parametrize("command", ["detect", "eval"])
def test_options_that_do_not_go_together(
    command: str, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "model.onnx", "photos", *options]) == 2
    assert said in capsys.readouterr().err


def test_commands_without_it_import_nothing_of_it() -> None:
    code = (
        "import sys; from edgedet.cli import main; "
        "[main([command, 'gone.onnx', 'gone']) for command in ('detect', 'eval')]; "
        "print(*[name for name in sys.modules if name.split('.')[0] in ('ray',)"
        " or name.startswith('edgedet.cluster')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
