"""Events reach programs, web servers and brokers, and none of those holds anything up."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from edgedet.errors import UsageError
from edgedet.watching import AlertEvent
from edgedet.watching.outlets.courier import Courier
from edgedet.watching.outlets.mqtt import MqttTopic, parse_address
from edgedet.watching.outlets.program import Program
from edgedet.watching.outlets.webhook import Webhook
from tests.edgedet.watching.broker import Broker, Listener, find_broker, free_port


def event(number: int = 1, name: str = "camera", source: str = "camera 0") -> AlertEvent:
    return AlertEvent("begin", number, name, source, name, 7, 0.9, (1.0, 2.0, 30.0, 40.0), (48, 64), 12)


def until(true: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not (done := true()) and time.monotonic() < end:
        time.sleep(0.01)
    return done


def elapsed(call: Callable[[], Any]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


class TestProgram:
    def script(self, folder: Path, body: str) -> str:
        path = folder / "script.py"
        path.write_text(f"import json, os, sys, time\nout = {str(folder / 'out.txt')!r}\n{body}\n")
        return f"{sys.executable} {path}"

    def test_it_gets_json_and_variables_and_no_shell(self, tmp_path: Path) -> None:
        command = self.script(
            tmp_path,
            "event = json.load(sys.stdin)\n"
            "open(out, 'a').write(json.dumps([sys.argv[1:], event, os.environ['EDGEDET_CLASS']]) + '\\n')",
        )
        hostile = f"'; touch {tmp_path}/broken; $(touch {tmp_path}/broken) `touch {tmp_path}/broken`"
        courier = Courier(Program(f"{command} 'an argument' $HOME"), pytest.fail)
        for number in range(3):
            courier.send(event(number, hostile, hostile))
        assert courier.close(60) == 0
        lines = [json.loads(line) for line in (tmp_path / "out.txt").read_text().splitlines()]
        assert [line[1]["alert"] for line in lines] == [0, 1, 2]
        assert lines[0][0] == ["an argument", "$HOME"]
        assert lines[0][1] == json.loads(event(0, hostile, hostile).to_json()) | {"time": lines[0][1]["time"]}
        assert lines[0][2] == hostile
        assert not (tmp_path / "broken").exists()

    def test_one_that_hangs_is_ended_with_its_children_and_the_next_runs(self, tmp_path: Path) -> None:
        said: list[str] = []
        command = self.script(
            tmp_path,
            "open(out, 'a').write(os.environ['EDGEDET_ALERT'])\n"
            "if os.environ['EDGEDET_ALERT'] == '1':\n"
            "    import subprocess; subprocess.run(['sleep', '600'])",
        )
        courier = Courier(Program(command, timeout=2.0), said.append)
        assert elapsed(lambda: [courier.send(event(number)) for number in (1, 2)]) < 0.5
        assert until(lambda: (tmp_path / "out.txt").exists() and (tmp_path / "out.txt").read_text() == "12", 60)
        assert courier.close(30) == 1
        assert said == [f"program {sys.executable}: took more than 2 s and was ended"]

    def test_one_that_fails_is_told(self, tmp_path: Path) -> None:
        said: list[str] = []
        courier = Courier(Program(self.script(tmp_path, "sys.exit(3)")), said.append)
        courier.send(event())
        assert courier.close(60) == 1 and said == [f"program {sys.executable}: ended with exit code 3"]

    def test_closing_ends_the_one_that_runs(self, tmp_path: Path) -> None:
        pid = tmp_path / "out.txt"
        courier = Courier(
            Program(self.script(tmp_path, "open(out, 'w').write(str(os.getpid())); time.sleep(600)")), print
        )
        courier.send(event())
        assert until(lambda: pid.exists() and pid.read_text() != "", 60)
        assert elapsed(lambda: courier.close(0.1)) < 2
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid.read_text()), 0)

    @pytest.mark.parametrize(
        ("command", "words"),
        [
            ("", "the command is empty"),
            ("no-such-thing-here x", "no program 'no-such-thing-here'"),
            ("a 'b", "not und"),
        ],
    )
    def test_what_cannot_be_run_is_refused_at_once(self, command: str, words: str) -> None:
        with pytest.raises(UsageError, match=words):
            Program(command)


class Server(ThreadingHTTPServer):
    """A web server of this machine that answers as it is told."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Answer)
        self.answers: list[int] = []
        self.bodies: list[Any] = []
        self.hang = threading.Event()
        self.hangs = False
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/alerts?x=1"


class Answer(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.hangs:
            self.server.hang.wait(30)
            return
        self.server.bodies.append((self.path, self.headers["Content-Type"], body))
        self.send_response(self.server.answers.pop(0) if self.server.answers else 204)
        self.send_header("Location", "http://192.0.2.1/")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.hang.set()
    running.shutdown()
    running.server_close()


class TestWebhook:
    def test_events_are_posted_in_order(self, server: Server) -> None:
        courier = Courier(Webhook(server.url), pytest.fail)
        for number in range(3):
            courier.send(event(number))
        assert courier.close(20) == 0
        assert [(path, kind, body["alert"]) for path, kind, body in server.bodies] == [
            ("/alerts?x=1", "application/json", number) for number in range(3)
        ]

    def test_what_fails_on_its_side_is_sent_again_and_what_it_refuses_is_not(self, server: Server) -> None:
        said: list[str] = []
        server.answers = [503, 200, 404, 302]
        courier = Courier(Webhook(server.url), said.append)
        for number in range(4):
            courier.send(event(number))
        assert courier.close(20) == 2
        assert [body["alert"] for _, _, body in server.bodies] == [0, 0, 1, 2, 3]
        assert [text.partition(": ")[2] for text in said] == [
            "answered 503",
            "answered 404; the event is lost",
            "answered 302; the event is lost",
        ]

    def test_one_that_is_away_gets_everything_when_it_is_back(self) -> None:
        said: list[str] = []
        port = free_port()
        courier = Courier(Webhook(f"http://127.0.0.1:{port}/"), said.append)
        for number in range(3):
            courier.send(event(number))
        assert until(lambda: len(said) == 1)
        assert "cannot be reached (Connection refused)" in said[0]
        server = Server(port)
        assert courier.close(30) == 0
        assert [body["alert"] for _, _, body in server.bodies] == [0, 1, 2] and len(said) == 1
        server.shutdown()
        server.server_close()

    def test_one_that_hangs_holds_nothing_up(self, server: Server) -> None:
        server.hangs = True
        courier = Courier(Webhook(server.url), print)
        assert elapsed(lambda: [courier.send(event(number)) for number in range(20)]) < 0.5
        time.sleep(0.3)
        assert elapsed(lambda: courier.close(0.2)) < 1.5

    def test_of_too_many_the_oldest_are_lost_and_counted(self, server: Server) -> None:
        said: list[str] = []
        server.hangs = True
        courier = Courier(Webhook(server.url), said.append, max_waiting=5)
        courier.send(event(0))
        time.sleep(0.5)
        for number in range(1, 9):
            courier.send(event(number))
        assert said.count(f"{courier.name}: 5 events are waiting; the oldest is lost") == 3
        server.hangs = False
        server.hang.set()
        lost = courier.close(20)
        assert [body["alert"] for _, _, body in server.bodies][-5:] == [4, 5, 6, 7, 8] and lost >= 3

    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("http://example.org/x", "may be another machine, and events stay on this one"),
            ("http://10.0.0.7/", "--webhook-anywhere"),
            ("http://localhost.example.org/", "another machine"),
            ("ftp://localhost/", "is no address of a web server"),
            ("localhost:80", "is no address of a web server"),
            ("http://localhost:port/", "not understood"),
            ("http://me:secret@localhost/", "not supported"),
            (
                "http://127.0.0.1:9/ä",
                "'ä' cannot be sent in the address of a .*; percent-encode it: %C3%A4",
            ),
            ("http://127.0.0.1:9/?x=ä", "percent-encode it: %C3%A4"),
            ("http://127.0.0.1:9/a b", "percent-encode it: %20"),
            ("http://127.0.0.1:9/a\tb", "percent-encode it: %09"),
            ("http://127.0.0.1:9/a#b", "percent-encode it: %23"),
        ],
    )
    def test_other_machines_and_what_is_no_address_are_refused(self, url: str, words: str) -> None:
        with pytest.raises(UsageError, match=words):
            Webhook(url)

    def test_a_mistake_of_ours_costs_one_event_and_not_the_thread(self, server: Server) -> None:
        class Mistaken(Webhook):
            def deliver(self, event: AlertEvent) -> None:
                if event.alert == 0:
                    raise KeyError("a mistake")
                super().deliver(event)

        said: list[str] = []

        def say(text: str) -> None:
            said.append(text)
            raise BrokenPipeError

        courier = Courier(Mistaken(server.url), say)
        courier.send(event(0))
        courier.send(event(1))
        assert courier.close(20) == 1 and [body["alert"] for _, _, body in server.bodies] == [1]
        assert said == [f"{courier.name}: unexpected KeyError: 'a mistake'; the event is lost"]

    def test_other_machines_can_be_asked_for(self) -> None:
        assert Webhook("https://example.org/x", "anywhere").name == "web server https://example.org"


class TestMqtt:
    @pytest.fixture
    def broker(self, tmp_path: Path) -> Iterator[Broker]:
        pytest.importorskip("paho.mqtt", reason="paho-mqtt is not installed: pip install 'edgedet[mqtt]'")
        running = Broker(find_broker(), tmp_path)
        yield running
        running.kill()

    def test_killed_and_started_again_five_times_it_is_back_within_three_seconds(self, broker: Broker) -> None:
        said: list[str] = []
        broker.start()
        topic = MqttTopic(f"mqtt://127.0.0.1:{broker.port}/home/alerts", said.append)
        for turn in range(0, 50, 10):
            listener = Listener(broker.port, "home/alerts")
            topic.send(event(turn))
            assert [one["alert"] for one in listener.wait_for(1, 10)] == [turn]
            assert until(lambda: topic.unconfirmed == 0)
            listener.close()
            broker.kill()
            assert until(lambda turn=turn: len(said) == turn // 5 + 1)  # type: ignore[misc]
            # Nothing is lost while it is away, and nothing waits for it.
            assert elapsed(lambda turn=turn: [topic.send(event(turn + more)) for more in (1, 2, 3)]) < 0.5  # type: ignore[misc]
            time.sleep(1.5)
            assert topic.unconfirmed == 3
            broker.start()
            # The broker confirms what it has.
            assert elapsed(lambda: until(lambda: topic.unconfirmed == 0)) <= 3
        assert topic.close(5) == 0
        assert ["broke off" in text for text in said] == [True, False] * 5
        assert all(text.endswith(": connected") for text in said[1::2])

    def test_one_that_is_not_there_at_the_start_gets_everything_later(self, broker: Broker) -> None:
        said: list[str] = []
        topic = MqttTopic(f"mqtt://127.0.0.1:{broker.port}/a", said.append)
        for number in range(50):
            topic.send(event(number))
        assert until(lambda: len(said) == 1) and "cannot be reached; trying again" in said[0]
        broker.start()
        assert topic.close(15) == 0

    def test_too_many_are_lost_and_counted_and_closing_does_not_wait(self, broker: Broker) -> None:
        said: list[str] = []
        topic = MqttTopic(f"mqtt://127.0.0.1:{broker.port}/a", said.append, max_waiting=5)
        for number in range(40):
            topic.send(event(number))
        lost = sum("this one is lost" in text for text in said)
        assert 0 < lost < 40
        began = time.monotonic()
        assert topic.close(0.2) == 40
        assert time.monotonic() - began < 1.5

    def test_one_that_freezes_holds_nothing_up(self, broker: Broker) -> None:
        broker.start()
        topic = MqttTopic(f"mqtt://127.0.0.1:{broker.port}/a", print)
        topic.send(event())
        assert until(lambda: topic.unconfirmed == 0)
        broker.freeze()
        assert elapsed(lambda: [topic.send(event(number)) for number in range(100)]) < 1
        assert elapsed(lambda: topic.close(0.2)) < 1.5

    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("localhost/x", "is no topic of a broker; expected mqtt://HOST/TOPIC"),
            ("http://localhost/x", "is no topic"),
            ("mqtt://localhost", "is no topic"),
            ("mqtt://localhost/", "is no topic"),
            ("mqtt://localhost/a/#", r"topic 'a/#' cannot be published to"),
            ("mqtt://localhost/a/+/b", "cannot be published to"),
            ("mqtt://localhost:99999/a", "not understood"),
            ("mqtt://localhost/home?x=1", "has nothing after '[?]'; a '[?]' of the topic itself is written %3F"),
            ("mqtt://localhost/home?x=a@b", "has nothing after"),
        ],
    )
    def test_what_is_no_address_is_refused(self, url: str, words: str) -> None:
        with pytest.raises(UsageError, match=words):
            parse_address(url)

    def test_passwords_stay_out_of_names(self, monkeypatch: pytest.MonkeyPatch) -> None:
        address = parse_address("mqtts://me:p%40ss@host/a/b")
        assert (address.port, address.user, address.password, address.topic) == (8883, "me", "p@ss", "a/b")
        assert address.name == "mqtts://host:8883/a/b"
        monkeypatch.setenv("EDGEDET_MQTT_PASSWORD", "hidden")
        assert parse_address("mqtt://me@host/a").password == "hidden"
        assert parse_address("mqtt://host/a%3Fb").topic == "a?b"
        with pytest.raises(UsageError) as refused, contextlib.suppress(OSError, socket.error):
            parse_address("mqtt://me:secret@host")
        assert "secret" not in str(refused.value)
