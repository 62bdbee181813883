# Builds the daemon, then an image that holds nothing else but the libraries it is linked to and the authorities it trusts, and
# runs as an ordinary user: no shell, no package manager, no file that it could write.
FROM rust:1-slim-bookworm AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
RUN cargo build --release --locked && strip target/release/hydrant
# What `ldd` names, at the place where it was found. Names of hosts are resolved by the C library itself.
RUN mkdir -p /image/usr/local/bin /image/etc/ssl/certs /image/tmp \
    && cp target/release/hydrant /image/usr/local/bin/ \
    && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
    && ldd target/release/hydrant | grep --only-matching '/[^ ]*' | xargs cp --parents --dereference --target-directory=/image

FROM scratch
COPY --from=build /image/ /
USER 65532:65532
ENV PATH=/usr/local/bin HYDRANT__ADMIN__LISTEN=0.0.0.0:9464
EXPOSE 9464
STOPSIGNAL SIGTERM
# Alive, not ready: a database that is away is no reason to start the daemon anew.
HEALTHCHECK --interval=15s --timeout=6s --start-period=10s CMD ["hydrant", "healthcheck", "--live"]
ENTRYPOINT ["hydrant"]
CMD ["run"]
