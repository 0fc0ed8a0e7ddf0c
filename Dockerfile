# The platform's images. Targets: dagster (code server, daemon, webserver, runs), api, exchange (the simulated exchange, its gateway, Betfair's
# streams, the AWS emulator), demo (all of it on one machine: `exchange-platform up`).
# BASE_IMAGE is any image with glibc, certificates, and Python 3.11 to 3.13 with venv as python3; pin it by digest where it comes from a registry.
ARG BASE_IMAGE=docker.io/library/python:3.12-slim-bookworm

FROM ${BASE_IMAGE} AS tools
WORKDIR /opt/platform
COPY requirements.lock pyproject.toml README.md ./
COPY deployments/docker deployments/docker
RUN python3 deployments/docker/locked.py requirements.lock deployments/docker/tools.txt >/tmp/tools.txt \
 && python3 -m venv /opt/tools \
 && /opt/tools/bin/pip install --quiet --no-cache-dir --disable-pip-version-check --require-hashes -r /tmp/tools.txt
COPY exchange_platform exchange_platform

FROM tools AS dagster-packages
RUN deployments/docker/install dagster search betfair

FROM tools AS api-packages
RUN deployments/docker/install api search

FROM tools AS exchange-packages
RUN deployments/docker/install api search betfair local

FROM tools AS demo-packages
RUN deployments/docker/install api search betfair dagster local

FROM ${BASE_IMAGE} AS runtime
# Numbers, so that whoever runs it may insist on a user other than root.
RUN echo 'platform:x:10001:10001:platform:/home/platform:/usr/sbin/nologin' >>/etc/passwd \
 && echo 'platform:x:10001:' >>/etc/group \
 && mkdir -p /home/platform /data /opt/dagster \
 && chown 10001:10001 /home/platform /data /opt/dagster \
 && chmod 700 /data
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/home/platform \
    PYTHONUNBUFFERED=1 \
    MALLOC_ARENA_MAX=2 \
    EXCHANGE_PLATFORM_DATA_DIR=/data
WORKDIR /opt/platform
USER 10001:10001

FROM runtime AS dagster
COPY --from=dagster-packages /opt/venv /opt/venv
COPY --from=dagster-packages /opt/platform/exchange_platform exchange_platform
COPY assets assets
COPY ops ops
COPY resources resources
COPY sensors sensors
COPY deployments deployments
COPY workspace.yaml pyproject.toml ./
ARG DAGSTER_CONFIG=deployments/docker/dagster.yaml
COPY ${DAGSTER_CONFIG} /opt/dagster/dagster.yaml
ENV DAGSTER_HOME=/opt/dagster
# The code server's; the daemon's and the webserver's are with their services.
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s --retries=4 CMD ["dagster", "api", "grpc-health-check", "-p", "4000"]
CMD ["dagster", "api", "grpc", "-m", "deployments.local", "-h", "0.0.0.0", "-p", "4000", "--inject-env-vars-from-instance"]

FROM runtime AS exchange
COPY --from=exchange-packages /opt/venv /opt/venv
COPY --from=exchange-packages /opt/platform/exchange_platform exchange_platform
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-m", "exchange_platform.local.probe", "http://127.0.0.1:8100/health"]
CMD ["python", "-m", "exchange_platform.exchanges.gateway", "--host", "0.0.0.0", "--port", "8100", "--data-dir", "/data"]

FROM runtime AS demo
COPY --from=demo-packages /opt/venv /opt/venv
COPY --from=demo-packages /opt/platform/exchange_platform exchange_platform
COPY assets assets
COPY ops ops
COPY resources resources
COPY sensors sensors
COPY deployments deployments
COPY workspace.yaml pyproject.toml ./
HEALTHCHECK --interval=15s --timeout=10s --start-period=90s --retries=4 CMD ["python", "-m", "exchange_platform.local.probe", "http://127.0.0.1:8000/health"]
CMD ["exchange-platform", "up"]

FROM runtime AS api
COPY --from=api-packages /opt/venv /opt/venv
COPY --from=api-packages /opt/platform/exchange_platform exchange_platform
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-m", "exchange_platform.local.probe", "http://127.0.0.1:8000/health"]
CMD ["python", "-m", "exchange_platform.api", "--host", "0.0.0.0", "--port", "8000"]
