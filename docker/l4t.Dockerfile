# JetPack 6 (L4T R36): TensorRT 10.3, CUDA 12.6. On a Jetson: docker build -f docker/l4t.Dockerfile -t edgedet .
FROM nvcr.io/nvidia/l4t-tensorrt:r10.3.0-runtime

RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-pip python3-libnvinfer \
    && rm -rf /var/lib/apt/lists/*
COPY . /opt/edgedet
RUN python3 -m pip install --no-cache-dir 'setuptools>=77' \
    && python3 -m pip install --no-cache-dir /opt/edgedet 'cuda-bindings>=12.6,<13' 'nvidia-cuda-nvrtc-cu12==12.6.*'

WORKDIR /work
ENTRYPOINT ["edgedet"]
CMD ["doctor"]
