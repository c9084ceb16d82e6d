"""A connection to Ray: one that is started here for the command alone, or one that is there already."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedet.errors import ClusterError, MissingDependencyError
from edgedet.machine.cores import available_cores

LOCAL = "local"
STORE_BYTES = 512 * 2**20
"""Room for results that wait for their turn on this machine: some thousand pictures' are a hundredth of it."""
AUTO = "auto"
LONGEST_FOLDER = 20
"""Characters of the folder that temporary ones lie in: Ray adds 80 of its own to the paths of sockets."""
SECONDS_TO_ANSWER = 10
HTTP2_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""How a client of gRPC begins (RFC 9113, 3.4): the preface, and settings with nothing in them."""
HTTP2_HEADER_BYTES, HTTP2_SETTINGS = 9, b"\x04"
"""Header of the frame that a server answers with: its length, and the kind that its fourth byte names."""
START_ONE = "start one (ray start --head), or give --ray local"
SWITCHED_OFF = {
    # Ray reports to its makers unless told otherwise.
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@dataclass(frozen=True)
class Cluster:
    """An open connection.

    Attributes:
        ray: the module.
        workers: number of workers, at most.
        fixed: whether so many are there for us alone; else they are taken as they become free.
    """

    ray: Any
    workers: int
    fixed: bool


@contextmanager
def open_cluster(address: str, *, workers: int | None = None) -> Iterator[Cluster]:
    """Connect to Ray, and disconnect in the end.

    Args:
        address: ``local`` starts Ray on this machine, for this process alone, and stops it in the end; ``auto`` is
            the cluster that this machine is a node of; ``HOST:PORT`` is another one's head.
        workers: their number; None is one for each core of the machine, or of the cluster.

    Raises:
        MissingDependencyError: Ray is not installed.
        ClusterError: nothing there, another version of Ray or Python, or no cores.
    """
    require_address(address)
    if address == LOCAL and "ray" not in sys.modules:
        # Ray listens on the machine's network address, never on loopback alone. Whoever has not this token, which
        # lies in no file, is turned away. (Ray reads it once. Where it did before us, its own from ~/.ray counts.)
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    elif ":" in address and _has_token():
        # With "auto" Ray finds out that the cluster wants its token. With an address it has to be told, before it
        # is imported, or says no more than "Failed to connect" (2.60). A cluster without tokens takes it, too.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    ray = _import_ray()
    folder = None
    try:
        if address == LOCAL:
            count = workers or available_cores()
            # Of its own, so that logs (which may name pictures) go with it. Short: sockets lie inside. Nobody else
            # may look into it, whatever Ray makes of the folders in it.
            folder = Path(tempfile.mkdtemp(prefix="edr-", dir=_short_folder()))
            with _signals_kept():
                _start(ray, count, folder)
            yield Cluster(ray, count, fixed=True)
        else:
            with _signals_kept():
                _connect(ray, address)
            cores = int(ray.cluster_resources().get("CPU", 0))
            if not cores:
                raise ClusterError(f"the cluster at {address} has no CPU cores; add nodes to it (ray start)")
            yield Cluster(ray, min(workers or cores, cores), fixed=False)
    finally:
        ray.shutdown()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def require_address(address: str) -> None:
    """Check an address as far as that can be done without Ray, which takes its time to start, and more to give up.

    Raises:
        ClusterError: none of the three kinds of address, or nobody answers there as Ray does.
    """
    if "://" in address:
        raise ClusterError(
            f"--ray {address} is the address of Ray's client, whose programs share no memory with the cluster; run "
            "the command on a node of the cluster with --ray auto, or give HOST:PORT"
        )
    if address in (LOCAL, AUTO):
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ClusterError(
            f"--ray {address} is no address of a cluster; expected HOST:PORT of its head node, auto, or local"
        )
    try:
        with socket.create_connection((host.strip("[]"), int(port)), SECONDS_TO_ANSWER) as connection:
            # Ray itself tries again for a quarter of an hour where nobody listens, or somebody else.
            connection.settimeout(SECONDS_TO_ANSWER)
            connection.sendall(HTTP2_GREETING)
            with connection.makefile("rb") as stream:
                answer = stream.read(HTTP2_HEADER_BYTES)
    except (OSError, UnicodeError) as error:
        raise ClusterError(f"no Ray cluster answers at {address} ({error}); {START_ONE}") from error
    if answer[3:4] != HTTP2_SETTINGS:
        raise ClusterError(f"what answers at {address} is no Ray cluster; {START_ONE}")


def _short_folder() -> str | None:
    """Folder that temporary ones lie in; none of a long name, which leaves sockets no room (107 bytes, unix(7))."""
    usual = tempfile.gettempdir()
    return usual if len(usual) <= LONGEST_FOLDER or not Path("/tmp").is_dir() else "/tmp"


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray takes SIGTERM for itself, and ends a program with an abort where it should unwind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if handler is None else handler)


def _import_ray() -> Any:
    os.environ.update(SWITCHED_OFF)
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"--ray needs the package {error.name}, which is not installed: pip install 'edgedet[ray]'"
        ) from error
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    _keep_off_standard_output(ray)
    return ray


def _keep_off_standard_output(ray: Any) -> None:
    """Send what Ray has to say of workers that died to its log.

    It would stand between the lines that a command prints, whatever ``log_to_driver`` says (Ray 2.60).
    """
    worker = getattr(getattr(ray, "_private", None), "worker", None)
    printing = getattr(worker, "print_to_stdstream", None)
    if printing is None or getattr(printing, "of_edgedet", False):
        return

    def print_to_stdstream(data: dict[str, Any], *rest: Any, **options: Any) -> None:
        if data.get("pid") == "raylet":
            logging.getLogger("ray").warning("%s", data.get("lines"))
        else:
            printing(data, *rest, **options)

    print_to_stdstream.of_edgedet = True  # type: ignore[attr-defined]
    worker.print_to_stdstream = print_to_stdstream  # type: ignore[union-attr]


def _start(ray: Any, workers: int, folder: Path) -> None:
    own, before = folder / "t", os.environ.get("TMPDIR")
    own.mkdir()
    # Of the workers: what one leaves that was killed goes with the rest.
    os.environ["TMPDIR"] = str(own)
    try:
        ray.init(
            address=LOCAL,
            num_cpus=workers,
            include_dashboard=False,
            object_store_memory=STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            _temp_dir=str(folder / "r"),
        )
    except Exception as error:  # Ray has no class for what keeps it from starting
        raise ClusterError(
            f"Ray does not start on this machine ({_first_line(error)}); it gives up after half a minute, which a "
            "machine that is busy with other work exceeds: try again when it is not"
        ) from error
    finally:
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before


def _connect(ray: Any, address: str) -> None:
    """Ray's own sentences, in one of ours."""
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
    except (ValueError, OSError) as error:  # ConnectionError and TimeoutError among them
        raise ClusterError(f"no Ray cluster answers at {address} ({_first_line(error)}); {START_ONE}") from error
    except RuntimeError as error:
        raise ClusterError(
            f"the cluster at {address} does not take this machine ({_first_line(error)}); install the same "
            "versions of Ray and Python on both"
        ) from error


def _has_token() -> bool:
    """Whether Ray's token is in one of the places where Ray looks for it."""
    variables = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    return any(os.environ.get(name) for name in variables) or (Path.home() / ".ray" / "auth_token").is_file()


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    # Ray gives both versions on lines of their own.
    return " ".join(text.split())[:200] if text else type(error).__name__
