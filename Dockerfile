# The HTTP service alone: docker build -t propensity . (docs/production.md)
FROM python:3.12-slim AS build
WORKDIR /source
RUN python -m venv /venv
COPY pyproject.toml setup.py constraints.txt README.md LICENSE ./
COPY src src
COPY conf conf
COPY scripts scripts
# The CPU build of torch comes first, so that no CUDA library is installed.
RUN /venv/bin/pip install --no-cache-dir --no-deps -c constraints.txt --index-url https://download.pytorch.org/whl/cpu torch
RUN /venv/bin/pip install --no-cache-dir -c constraints.txt ".[serve,gbdt]"

FROM python:3.12-slim
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --home-dir /tmp propensity
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 NUMBA_CACHE_DIR=/tmp/numba
ENV OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1
USER 10001
WORKDIR /srv
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/ready', timeout=4)"]
# Mount the folder that holds the bundle, so that the bundle can be exchanged, and the tokens; settings follow as key=value.
ENTRYPOINT ["propensity", "serve", "bundle=/srv/served/bundle", "host=0.0.0.0", "port=8000"]
CMD ["tokens=/run/secrets/tokens"]
