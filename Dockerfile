# Builds the daemon, then a small image that holds nothing else but certificates and runs as an ordinary user.
FROM rust:1-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY Cargo.toml Cargo.lock README.md ./
COPY src ./src
COPY migrations ./migrations
COPY config ./config
COPY tests ./tests
COPY benches ./benches
RUN cargo build --release --locked && strip target/release/hydrant

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
COPY --from=build /build/target/release/hydrant /usr/local/bin/hydrant
USER 65532:65532
ENV HYDRANT__ADMIN__LISTEN=0.0.0.0:9464
EXPOSE 9464
STOPSIGNAL SIGTERM
ENTRYPOINT ["hydrant"]
CMD ["run"]
