"""``edgedet watch`` at work: frames in, events out to everywhere they were asked for."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from edgedet.cli.frame_lines import live_line
from edgedet.cli.progress import Progress
from edgedet.errors import OutputError, SourceEndedError, UndeliveredError
from edgedet.pictures.frames import Unreadable
from edgedet.watching.outlets.courier import CLOSING_SECONDS, Courier, Outlet

if TYPE_CHECKING:
    from edgedet.detector import Detector
    from edgedet.pictures.live.fault import Fault
    from edgedet.pictures.sources import FrameSource
    from edgedet.service.service import Service
    from edgedet.watching.alert import AlertEvent
    from edgedet.watching.watcher import Watcher

DELIVERY_SECONDS = 5.0
"""How long the end of the sources waits for what is still to be delivered."""
BREAKS = ("unreachable", "stalled", "disconnected", "ended")
"""Faults after which nothing is known of what a source saw before."""


class Outlets:
    """Standard output, ``--json``, ``--exec``, ``--mqtt`` and ``--webhook``.

    Leaving it waits for what is on its way: shortly after Ctrl-C, else long. What cannot be written any more, to
    standard output or to the file, is not tried again: the error is raised once, when all others have been told.
    """

    def __init__(self, progress: Progress, file: TextIO | None, outlets: Sequence[Outlet]) -> None:
        self.ended: list[Unreadable] = []
        self.progress = progress
        self._file = file
        self._outlets = outlets
        self._read = True
        self._misfits: list[tuple[str, str]] = []

    @staticmethod
    def of(arguments: argparse.Namespace, progress: Progress) -> Outlets:
        """What the options ask for.

        Raises:
            UsageError, MissingDependencyError: it cannot be had.
        """
        from edgedet.watching.outlets.mqtt import MqttTopic, parse_address
        from edgedet.watching.outlets.program import Program
        from edgedet.watching.outlets.webhook import Webhook

        def say(text: str) -> None:
            progress.say(f"edgedet: {text}")

        # First what may be refused, so that nothing was begun.
        carriers: list[Any] = []
        if arguments.exec is not None:
            carriers.append(Program(arguments.exec))
        if arguments.webhook is not None:
            carriers.append(
                Webhook(arguments.webhook, "anywhere" if arguments.webhook_anywhere else "this machine")
            )
        if arguments.mqtt is not None:
            parse_address(arguments.mqtt)
        file = None if arguments.json is None else _appended(arguments.json)
        outlets: list[Outlet] = [Courier(carrier, say) for carrier in carriers]
        if arguments.mqtt is not None:
            outlets.append(MqttTopic(arguments.mqtt, say))
        return Outlets(progress, file, outlets)

    def send(self, events: Sequence[AlertEvent]) -> None:
        """Alerts begin or end.

        Raises:
            OSError: of standard output or the file; every event is on its way to all outlets by then.
        """
        for event in events:
            for outlet in self._outlets:
                outlet.send(event)
        for event in events:
            self.line(event.to_json())

    def line(self, text: str) -> None:
        """A line for standard output and ``--json``.

        Raises:
            OSError: either cannot be written; the other has the line.
        """
        try:
            self._append(text)
        finally:
            self.show(text)

    def show(self, text: str) -> None:
        """A line for standard output alone.

        Raises:
            OSError: nobody reads it.
        """
        if not self._read:
            return
        try:
            # In one piece: Ctrl-C between an event and its line end would join the next event to it.
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
        except OSError:
            # The line stays in Python's buffer: the next one would fail too.
            self._read = False
            raise

    def _append(self, text: str) -> None:
        if self._file is None:
            return
        try:
            self._file.write(text + "\n")
            self._file.flush()
        except OSError:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None
            raise

    def fault(self, fault: Fault) -> None:
        """A source broke, or sent damage."""
        values = {"event": "fault", "source": fault.source, "kind": fault.kind, "reason": fault.reason}
        self.line(json.dumps(values))
        self.progress.say(f"edgedet: {fault.kind}: {fault.reason}")

    def misfit(self, source: str, reason: str) -> None:
        """Frames of a source took a size that a rule is not meant for; told after the ends of its alerts."""
        self._misfits.append((source, reason))

    def tell_misfits(self) -> list[str]:
        """Tell of them; their sources."""
        told, self._misfits = self._misfits, []
        for source, reason in told:
            self.progress.say(
                f"edgedet: misfit: {source} gives no alerts while its frames have this size: {reason}"
            )
            self.line(json.dumps({"event": "fault", "source": source, "kind": "misfit", "reason": reason}))
        return [source for source, _ in told]

    def lost_frame(self, lost: Unreadable) -> None:
        """A frame of a video cannot be read, or a source ended early."""
        if lost.ends:
            self.ended.append(lost)
        else:
            self.progress.say(f"edgedet: skipped: {lost.reason}")

    def close(self, seconds: float) -> dict[str, int]:
        """Wait so long at most for what is on its way; what was not delivered, by place."""
        undelivered = {}
        for outlet in self._outlets:
            count = outlet.close(seconds)
            if count:
                undelivered[outlet.name] = count
        self._outlets = ()
        if self._file is not None:
            self._file.close()
            self._file = None
        return undelivered

    def __enter__(self) -> Outlets:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        count = max(len(self._outlets), 1)
        interrupted = kind is not None and not issubclass(kind, Exception)
        for name, lost in self.close((CLOSING_SECONDS if interrupted else DELIVERY_SECONDS) / count).items():
            self.progress.say(f"edgedet: {name}: {lost} events were not delivered")


def _appended(path: Path) -> TextIO:
    try:
        return path.open("a", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write to {path}: {error.strerror}") from error


def watch(  # noqa: PLR0917
    arguments: argparse.Namespace,
    detector: Detector,
    source: FrameSource,
    watcher: Watcher,
    outlets: Outlets,
    service: Service | None,
) -> int:
    """Look at the frames of ``source`` until it ends, or ``--limit`` is reached."""

    progress = outlets.progress

    def tell(fault: Fault) -> None:
        outlets.fault(fault)
        if service is not None:
            service.fault(fault)
        if fault.kind in BREAKS:
            send(watcher.lost(fault.source, "ended" if fault.kind == "ended" else "lost"))

    def send(events: Sequence[AlertEvent]) -> None:
        for event in events:
            if service is not None and event.event == "begin":
                service.alert(event.rule, event.source)
        outlets.send(events)

    reason: Any = "stopped"
    try:
        with detector.stream(
            source,
            max_fps=arguments.max_fps,
            duty=1.0 if arguments.duty is None else arguments.duty,
            unreadable=outlets.lost_frame,
            fault=tell,
        ) as stream:
            for count, (frame, detections) in enumerate(stream, 1):
                tracked, events = watcher.update(frame, detections)
                send(events)
                for misfit in outlets.tell_misfits():
                    if service is not None:
                        service.misfit(misfit)
                if arguments.detections:
                    outlets.show(live_line(frame, tracked, sys.stdout.encoding))
                status = f"{stream.stats.line}, {watcher.active} alerts"
                progress.line(status)
                if service is not None:
                    service.active(watcher.active)
                    service.frame(frame, detections.labels, detector.last_timing, stream, status)
                if count == arguments.limit:
                    break
            else:
                # What broke off may go on unseen.
                reason = "lost" if outlets.ended else "ended"
            stats = stream.stats
    except BaseException:
        # Also after Ctrl-C, so that nobody waits for the end of an alert. The first error is the one to tell.
        with contextlib.suppress(OSError):
            send(watcher.finish(reason))
        raise
    send(watcher.finish(reason))
    progress.close()
    for name, frames in watcher.too_short().items():
        progress.say(
            f"edgedet: {name} could not alert: it gave {frames} frame{'s' * (frames != 1)}, and an alert needs "
            f"{arguments.frames[0]} (--frames)"
        )
    if sys.stderr.isatty():
        print(f"{stats.frames} frames, {stats.line}", file=sys.stderr)
    undelivered = outlets.close(DELIVERY_SECONDS)
    if outlets.ended:
        raise SourceEndedError(outlets.ended[0].reason)
    if undelivered:
        raise UndeliveredError(
            "; ".join(f"{count} events were not delivered to {name}" for name, count in undelivered.items())
        )
    return 0
