# JetPack 6.1 to 6.2 (Jetson Linux 36.4, 36.5), Orin: TensorRT 10.3, CUDA 12.6, Python 3.10.
# On a Jetson: docker build -f docker/jetpack6.Dockerfile -t edgedet .
FROM nvcr.io/nvidia/l4t-tensorrt:r10.3.0-runtime

RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3-pip wget \
    && rm -rf /var/lib/apt/lists/*
# TensorRT's Python bindings are in NVIDIA's own archive, which the image does not know; of the image's own version,
# so that apt leaves its TensorRT alone.
RUN mkdir -p /etc/apt/keyrings \
    && wget -qO /etc/apt/keyrings/jetson.asc https://repo.download.nvidia.com/jetson/jetson-ota-public.asc \
    && chmod 644 /etc/apt/keyrings/jetson.asc \
    && echo "deb [signed-by=/etc/apt/keyrings/jetson.asc] https://repo.download.nvidia.com/jetson/common r36.4 main" \
        > /etc/apt/sources.list.d/jetson.list \
    && apt-get update \
    && apt-get install -y --no-install-recommends 'python3-libnvinfer=10.3.0.*' \
    && rm -rf /var/lib/apt/lists/*
COPY . /opt/edgedet
# 1.23.2 is the last ONNX Runtime with a wheel for this Python.
RUN python3 -m pip install --no-cache-dir 'setuptools>=77' \
    && python3 -m pip install --no-cache-dir /opt/edgedet 'onnxruntime==1.23.2' \
        'cuda-bindings>=12.6,<13' 'nvidia-cuda-nvrtc-cu12==12.6.*'

WORKDIR /work
ENTRYPOINT ["edgedet"]
CMD ["doctor"]
