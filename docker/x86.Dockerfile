# An x86 server with an NVIDIA GPU (driver 525 or newer): docker build -f docker/x86.Dockerfile -t edgedet .
FROM python:3.12-slim

COPY . /opt/edgedet
RUN pip install --no-cache-dir /opt/edgedet 'tensorrt-cu12>=10.3,<11.5' 'cuda-bindings>=12.6,<13' nvidia-cuda-nvrtc-cu12

WORKDIR /work
ENTRYPOINT ["edgedet"]
CMD ["doctor"]
