# One image for every command: `serve` (the default), `migrate` and the others of `sluice --help`.
#
# It starts from an empty file system and holds Python, our wheels and the C libraries they need: no package manager, no
# compiler, no tools but the shell that PostgreSQL's initdb calls. tools/images/rootfs.py lists what is taken from Debian,
# tests/image checks what came of it. `python -m tools.images build` builds it where there is no engine and no registry.
#
# A release names the digest of the base: docker build --build-arg BASE_DIGEST=sha256:... .
ARG BASE_IMAGE=debian:trixie-slim
ARG BASE_DIGEST

FROM ${BASE_IMAGE}${BASE_DIGEST:+@${BASE_DIGEST}} AS build
# Versions as far as Debian's stable release keeps them: it takes a package away when its security update comes.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        ca-certificates=2025* gcc=4:14.* libc6-dev=2.41-* netbase=6.* python3-dev=3.13.* python3-venv=3.13.* tzdata=202* \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
# Goes into wheels that are built here; 1980 is where the dates of their format begin.
ARG SOURCE_DATE_EPOCH=315532800
COPY requirements/build.txt requirements/image.txt ./
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
# Without debug information, in which the compiler names the folder of this very run.
RUN python3 -m venv tools \
    && tools/bin/pip install --no-deps --require-hashes --only-binary=:all: --requirement build.txt \
    && CFLAGS=-g0 LDFLAGS=-s tools/bin/pip wheel --no-deps --require-hashes --only-binary=:all: --no-binary=gunicorn_h1c \
        --no-build-isolation --wheel-dir wheels --requirement image.txt
RUN python3.13 -m venv --without-pip /opt/sluice \
    && tools/bin/pip --python /opt/sluice/bin/python install --no-index --no-deps --no-compile wheels/*.whl

FROM build AS root
COPY tools/images/rootfs.py ./
RUN python3 rootfs.py /rootfs /opt/sluice \
    && python3 -m compileall -q -j 0 -s /rootfs -p / --invalidation-mode unchecked-hash /rootfs

# The package itself comes last and in a layer of its own, for nothing else changes as often.
FROM build AS app
COPY LICENSE README.md pyproject.toml ./
COPY app app
COPY operator operator
RUN tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && tools/bin/pip --python /opt/sluice/bin/python install --no-index --no-deps --no-compile --root /rootfs dist/*.whl \
    && python3 -m compileall -q -s /rootfs -p / --invalidation-mode unchecked-hash /rootfs

FROM scratch
COPY --from=root /rootfs/ /
COPY --from=app /rootfs/ /
ENV PATH=/opt/sluice/bin:/usr/bin \
    LANG=C.UTF-8 \
    MALLOC_ARENA_MAX=2 \
    PYTHONDONTWRITEBYTECODE=1 \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    HOST=0.0.0.0 \
    DATA_DIR=/var/lib/sluice
USER 10001:10001
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
# By no proxy: Docker gives a container those of its own configuration.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from http.client import HTTPConnection; from os import getenv; probe = HTTPConnection('127.0.0.1', int(getenv('ADMIN_PORT') or 8081)); probe.request('GET', '/readiness'); raise SystemExit(probe.getresponse().status != 200)"]
ENTRYPOINT ["sluice"]
CMD ["serve"]
ARG VERSION=0.1.0
ARG REVISION
ARG CREATED
ARG SOURCE
LABEL org.opencontainers.image.title="sluice" \
      org.opencontainers.image.description="Takes in events and error logs over HTTP and stores each exactly once in PostgreSQL" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
