# The build runs on Debian bookworm, because its C library has the same version as the C library of the runtime image.
# You need BuildKit (Docker 23 or later) or buildah.
FROM docker.io/library/rust:1.95-bookworm AS build
WORKDIR /build
COPY . .

# Downloaded crates and compiled dependencies stay in the builder's caches, which are not part of a layer. Copied files keep
# their modification times, and cargo uses these times to find changed files. Without `touch`, cargo could use an old build
# from the cache.
RUN --mount=type=cache,id=remgate-registry,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,id=remgate-target,target=/build/target,sharing=locked \
    touch build.rs src/lib.rs src/main.rs \
 && cargo build --release --locked --bins \
 && target/release/remgate --version \
 && install -D target/release/remgate /out/remgate \
 && mkdir /out/data

# This image contains only the C library, libgcc and certificate authorities: no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot

LABEL org.opencontainers.image.title="remgate" \
      org.opencontainers.image.description="Receives RemAuth's callbacks, stores them, forwards them, and proxies RemotePC's reseller API" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"

COPY --from=build /out/remgate /usr/local/bin/remgate
COPY --from=build --chown=65532:65532 /out/data /data

# Defaults of this image. A mounted remgate.toml, the environment and flags replace them. The access rule applies here,
# too: on an address other than loopback, remgate starts only with callback tokens (or an allow list) and an admin key.
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
