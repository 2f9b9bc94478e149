# The server in a container, for the CPU, or with DEVICE=cuda for NVIDIA GPUs (the host brings the driver).
#   docker build -t streamer .                              docker run --rm -p 8765:8765 streamer
#   docker build -t streamer:cuda --build-arg DEVICE=cuda . docker run --rm --gpus all -p 8765:8765 streamer:cuda
FROM python:3.12-slim

ARG DEVICE=cpu
WORKDIR /app
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1

# torch is installed first, so that its layer stays while our own files change. Its default build carries CUDA.
COPY constraints.txt ./
RUN case "$DEVICE" in \
      cpu) pip install --no-cache-dir -c constraints.txt torch --index-url https://download.pytorch.org/whl/cpu ;; \
      cuda) pip install --no-cache-dir -c constraints.txt torch ;; \
      *) echo "DEVICE is cpu or cuda, not $DEVICE" >&2; exit 1 ;; \
    esac

COPY pyproject.toml README.md LICENSE ./
COPY streamer streamer
# New weights may be readable by their owner only, who does not exist in the container.
RUN chmod -R a+rX streamer \
 && pip install --no-cache-dir -c constraints.txt . \
 && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin streamer \
 && install -d -o streamer /var/cache/streamer

# The server runs the installed package, not the sources in /app.
WORKDIR /
USER 10001
# The compiled decode steps are kept here; without a writable directory they are compiled at each start.
ENV NUMBA_CACHE_DIR=/var/cache/streamer
ENV STREAMER_HOST=0.0.0.0 STREAMER_PORT=8765 STREAMER_LOG_FORMAT=json
EXPOSE 8765
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['STREAMER_PORT'] + '/livez', timeout=2)"]
ENTRYPOINT ["streamer"]
CMD ["serve"]
