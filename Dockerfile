# Built on Debian bookworm, whose C library is as old as the runtime image's. Needs BuildKit (Docker 23 or later) or buildah.
FROM docker.io/library/rust:1.95-bookworm AS build
WORKDIR /build
COPY . .

# Downloaded crates and compiled dependencies stay in the builder's caches, which belong to no layer. Copied files keep
# their modification times, by which cargo decides what is stale: without the touch it could ship what the cache holds.
RUN --mount=type=cache,id=remgate-registry,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=remgate-target,target=/build/target,sharing=locked \
    touch build.rs src/lib.rs src/main.rs \
 && cargo build --release --locked --bins \
 && target/release/remgate --version \
 && install -D target/release/remgate /out/remgate \
 && mkdir /out/data

# Has the C library, libgcc, certificate authorities and nothing else: no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot

LABEL org.opencontainers.image.title="remgate" \
      org.opencontainers.image.description="Receives RemAuth's callbacks, stores them, forwards them, and proxies RemotePC's reseller API" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"

COPY --from=build /out/remgate /usr/local/bin/remgate
COPY --from=build --chown=65532:65532 /out/data /data

# Defaults of this image: a mounted remgate.toml, the environment and flags all win over them. The access rule holds here
# too: off loopback, remgate starts only with callback tokens (or an allow list) and an admin key.
ENV REMGATE_DEFAULT__PUBLIC__LISTEN=0.0.0.0:8080 \
    REMGATE_DEFAULT__INTERNAL__LISTEN=0.0.0.0:8081

# The default store, sqlite://remgate.db, is a file in the working directory.
USER 65532:65532
WORKDIR /data
VOLUME ["/data"]
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["/usr/local/bin/remgate", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/remgate"]
