# JetPack 7.2 (Jetson Linux 39.2), Orin and Thor: TensorRT 10.16.2, CUDA 13.2, Python 3.12.
# On a Jetson: docker build -f docker/jetpack7.Dockerfile -t edgedet .
# NVIDIA has no l4t image for this JetPack; its CUDA images bring cuda-compat, which must not shadow the board's driver.
FROM ubuntu:24.04

RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3-venv wget \
    && rm -rf /var/lib/apt/lists/*
# Each TensorRT package by its version: apt would take newer ones for those that the bindings only depend on.
ARG TENSORRT=10.16.2.10-1+cuda13.2
RUN mkdir -p /etc/apt/keyrings \
    && wget -qO /etc/apt/keyrings/jetson.asc https://repo.download.nvidia.com/jetson/jetson-ota-public.asc \
    && chmod 644 /etc/apt/keyrings/jetson.asc \
    && echo "deb [signed-by=/etc/apt/keyrings/jetson.asc] https://repo.download.nvidia.com/jetson/common r39.2 main" \
        > /etc/apt/sources.list.d/jetson.list \
    && apt-get update \
    && apt-get install -y --no-install-recommends "libnvinfer10=${TENSORRT}" "libnvinfer-plugin10=${TENSORRT}" \
        "libnvonnxparsers10=${TENSORRT}" "python3-libnvinfer=${TENSORRT}" \
    && rm -rf /var/lib/apt/lists/*
COPY . /opt/edgedet
# Ubuntu's own Python takes no packages from pip; the environment sees the bindings that apt installed.
ENV PATH=/opt/environment/bin:$PATH
RUN python3 -m venv --system-site-packages /opt/environment \
    && /opt/environment/bin/pip install --no-cache-dir /opt/edgedet 'cuda-bindings==13.2.*' 'nvidia-cuda-nvrtc==13.2.*'

# What NVIDIA's own images say: without it, its container runtime hands over no driver.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /work
ENTRYPOINT ["edgedet"]
CMD ["doctor"]
