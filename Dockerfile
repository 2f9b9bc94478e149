# The server in a container, for the CPU, or with DEVICE=cuda for NVIDIA GPUs (the host brings the driver). With DEVICE=none
# it has no engine: a front end over workers, a third as large.
#   docker build -t streamer .                              docker run --rm -p 8765:8765 streamer
#   docker build -t streamer:cuda --build-arg DEVICE=cuda . docker run --rm --gpus all -p 8765:8765 streamer:cuda
# The root may be read-only: docker run --rm --read-only --tmpfs /tmp -p 8765:8765 streamer

# The Python whose versions of all packages CI tests.
FROM python:3.11-slim AS build
ARG DEVICE=cpu
WORKDIR /source
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_DEPS=1 PIP_ONLY_BINARY=:all:

# Everything comes from locks whose hashes are compared. torch is installed first, so that its layer stays while our own
# files change; what it has for compilers of extensions and for its own tests is left out.
COPY requirements requirements
RUN python -m venv --without-pip /opt/streamer \
 && case "$DEVICE" in \
      cpu) set -- -r requirements/torch-cpu.txt --index-url https://download.pytorch.org/whl/cpu ;; \
      cuda) set -- -r requirements/torch-cuda.txt ;; \
      none) exit 0 ;; \
      *) echo "DEVICE is cpu, cuda or none, not $DEVICE" >&2; exit 1 ;; \
    esac \
 && pip --python /opt/streamer install --require-hashes "$@" \
 && cd /opt/streamer/lib/python3.11/site-packages/torch && rm -rf include share/cmake lib/*.a test bin/*Test bin/test_* bin/protoc*
# A front end compiles no kernels, and the compiler is half of what is left without torch.
RUN pip --python /opt/streamer install --require-hashes -r requirements/server.txt \
 && if [ "$DEVICE" = none ]; then pip --python /opt/streamer uninstall --yes numba llvmlite; fi

# Sources may be readable by their owner only, who does not exist in the container.
COPY pyproject.toml README.md LICENSE ./
COPY streamer streamer
RUN chmod -R a+rX streamer && pip --python /opt/streamer install --no-build-isolation .

FROM python:3.11-slim
ARG DEVICE=cpu
# On a GPU Triton compiles, at the first start, a module of C between itself and the driver (triton/runtime/build.py), and
# needs gcc and Python's headers, which the image has; on a CPU nothing is compiled by gcc.
RUN if [ "$DEVICE" = cuda ]; then \
      apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*; \
    fi
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin streamer \
 && install -d -o streamer -g streamer /var/cache/streamer
COPY --from=build /opt/streamer /opt/streamer
WORKDIR /
USER 10001:10001
# The compiled decode steps are kept in the cache; if it cannot be written, they are compiled at each start.
ENV PATH=/opt/streamer/bin:$PATH PYTHONDONTWRITEBYTECODE=1 NUMBA_CACHE_DIR=/var/cache/streamer TRITON_CACHE_DIR=/var/cache/streamer/triton
ENV STREAMER_HOST=0.0.0.0 STREAMER_PORT=8765 STREAMER_LOG_FORMAT=json
EXPOSE 8765
STOPSIGNAL SIGTERM
# The certificate is one of the server's outer name, and this asks by its inner one. A worker answers /livez on its own port.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import os, ssl, urllib.request as r; e = os.environ; s = 'https' if e.get('STREAMER_TLS_CERT') else 'http'; r.urlopen(s + '://127.0.0.1:' + e['STREAMER_PORT'] + '/livez', timeout=2, context=ssl._create_unverified_context())"]
ENTRYPOINT ["streamer"]
CMD ["serve"]
