"""A real RTSP server on this machine, GStreamer's: PYTHON rtsp_server.py PORT; without a port, whether it can be.

The picture is black, 160 x 120, with a white rectangle from (40, 20) to (88, 52), 30 times a second, as H.264.
It is run by whatever Python sees GStreamer's binding, so it uses nothing else.
"""

from __future__ import annotations

import sys

NEEDED = ("videotestsrc", "videobox", "videoconvert", "x264enc", "rtph264pay")
LAUNCH = (
    "( videotestsrc is-live=true pattern=white ! video/x-raw,width=48,height=32,framerate=30/1 ! "
    "videobox top=-20 left=-40 right=-72 bottom=-68 fill=black ! video/x-raw,width=160,height=120 ! videoconvert ! "
    "video/x-raw,format=I420 ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! "
    "rtph264pay name=pay0 pt=96 config-interval=1 )"
)


def main() -> None:
    """Serve, until killed."""
    try:
        import gi

        gi.require_version("Gst", "1.0")
        gi.require_version("GstRtspServer", "1.0")
        from gi.repository import GLib, Gst, GstRtspServer
    except (ImportError, ValueError) as error:
        sys.exit(f"no GStreamer here: {error}")
    Gst.init(None)
    missing = [name for name in NEEDED if Gst.ElementFactory.find(name) is None]
    if missing:
        sys.exit(f"GStreamer lacks {', '.join(missing)}")
    if len(sys.argv) == 1:
        return
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(LAUNCH)
    factory.set_shared(True)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(sys.argv[1])
    server.get_mount_points().add_factory("/live", factory)
    server.attach(None)
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
