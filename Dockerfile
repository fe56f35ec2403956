# The HTTP service, for CPUs: docs/deploying.md.
# The tag says the version. For builds that repeat to the byte add the digest, which the registry knows:
#   docker buildx imagetools inspect python:3.11.16-slim-bookworm --format '{{.Manifest.Digest}}'
#   docker build --build-arg PYTHON=3.11.16-slim-bookworm@sha256:... -t ocr-onnx .
ARG PYTHON=3.11.16-slim-bookworm

FROM python:${PYTHON} AS build
# For the pictures that are sent: packages with fonts, as rendering names them; the lines of a requirements file.
ARG FONTS="noto-cjk-sans-otc==0.0.1 --hash=sha256:44596df7f0c1590cb9c4cfe85b9213b7e91e1086a8a024f1a05df6d6badd33ec"
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ONLY_BINARY=:all:
WORKDIR /src
# Every package has a known hash: `make lock-image` writes these files.
COPY deploy/build.lock deploy/requirements.lock deploy/
RUN python -m venv /opt/build \
    && /opt/build/bin/python -m pip install --require-hashes -r deploy/build.lock \
    && python -m venv /opt/ocr-onnx \
    && /opt/ocr-onnx/bin/python -m pip install --require-hashes -r deploy/requirements.lock \
    && printf '%s\n' "${FONTS}" > fonts.txt \
    && /opt/ocr-onnx/bin/python -m pip install --no-deps -r fonts.txt
COPY pyproject.toml model_zoo.yaml README.md LICENSE NOTICE ./
COPY ocr_onnx ocr_onnx
RUN /opt/build/bin/python -m pip wheel --no-deps --no-build-isolation --wheel-dir wheels ".[cpu,serve,pdf]" \
    && /opt/ocr-onnx/bin/python -m pip install --no-deps --no-index wheels/*.whl \
    && /opt/ocr-onnx/bin/python -m pip check

FROM python:${PYTHON}
COPY --from=build /opt/ocr-onnx /opt/ocr-onnx
# Models that the package does not carry are looked for in /models. ONNX Runtime sends no telemetry.
ENV PATH=/opt/ocr-onnx/bin:$PATH \
    OCR_ONNX_HOME=/models \
    ORT_DISABLE_TELEMETRY=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1
USER 10001:10001
# This user cannot write there, so no process can leave code for another one.
WORKDIR /
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "-I", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8080, timeout=4); c.request('GET', '/health'); exit(c.getresponse().status != 200)"]
ENTRYPOINT ["ocr-onnx"]
# Without a file of keys mounted there, the container says so and ends: it is never open to everyone by default.
CMD ["serve", "--host", "0.0.0.0", "--api-key-file", "/run/keys/keys.txt"]
