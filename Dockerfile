# The HTTP service, for CPUs: docs/deploying.md.
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS build
# For the pictures that are sent: packages with fonts, as rendering names them.
ARG FONTS="noto-cjk-sans-otc==0.0.1"
WORKDIR /src
COPY pyproject.toml model_zoo.yaml README.md LICENSE NOTICE ./
COPY ocr_onnx ocr_onnx
RUN python -m venv /opt/ocr-onnx \
    && /opt/ocr-onnx/bin/python -m pip install --no-cache-dir ".[cpu,serve]" ${FONTS}

FROM python:${PYTHON}
COPY --from=build /opt/ocr-onnx /opt/ocr-onnx
# Models that the package does not carry are looked for in /models. ONNX Runtime sends no telemetry.
ENV PATH=/opt/ocr-onnx/bin:$PATH \
    OCR_ONNX_HOME=/models \
    ORT_DISABLE_TELEMETRY=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /tmp
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "-I", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8080, timeout=4); c.request('GET', '/health'); exit(c.getresponse().status != 200)"]
ENTRYPOINT ["ocr-onnx"]
# Without a file of keys mounted there, the container says so and ends: it is never open to everyone by default.
CMD ["serve", "--host", "0.0.0.0", "--api-key-file", "/run/keys/keys.txt"]
