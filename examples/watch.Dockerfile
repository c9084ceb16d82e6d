# edgedet watch in a container, on the CPU of a PC or an arm64 board:
#   docker build -f examples/watch.Dockerfile -t edgedet-watch .
#   docker run -d --restart unless-stopped --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges \
#       --device /dev/video0 --group-add video --network none -v $PWD/model.onnx:/model.onnx:ro edgedet-watch
# For RTSP cameras and MQTT leave out --network none; for figures add --network host.
FROM python:3.12-slim

COPY . /opt/edgedet
RUN pip install --no-cache-dir '/opt/edgedet[mqtt]' && useradd --system watch
USER watch

# SIGTERM ends alerts as Ctrl-C does, within a second.
STOPSIGNAL SIGTERM
ENTRYPOINT ["edgedet", "watch"]
CMD ["/model.onnx", "0", "--max-fps", "10"]
