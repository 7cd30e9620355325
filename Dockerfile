# Builds on bookworm, whose libc is as old as the runtime image's.
FROM docker.io/library/rust:1.95-bookworm AS build
WORKDIR /build

# The dependencies are a layer of their own: it is built again only when they change, not when our code does.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src tests/it benches \
 && for main in src/main.rs tests/it/main.rs benches/callback.rs; do echo 'fn main() {}' > "$main"; done \
 && touch src/lib.rs \
 && cargo build --release --locked --lib --bins

# Copied files keep their old dates, and cargo goes by dates: without the touch it would ship the stand-in above.
COPY . .
RUN touch src/lib.rs src/main.rs \
 && cargo build --release --locked --bins \
 && target/release/remgate --version \
 && mkdir /data

# Has libc, libgcc, certificate authorities and nothing else: no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot

LABEL org.opencontainers.image.title="remgate" \
      org.opencontainers.image.description="Receives RemAuth's callbacks, keeps them, forwards them, and fronts RemotePC's reseller API" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"

COPY --from=build /build/target/release/remgate /usr/local/bin/remgate
COPY --from=build --chown=65532:65532 /data /data

# The lock rule holds here too: off loopback, remgate starts only when both doors are locked.
ENV REMGATE__PUBLIC__LISTEN=0.0.0.0:8080 \
    REMGATE__INTERNAL__LISTEN=0.0.0.0:8081

# The default store, sqlite://remgate.db, is a file in the working directory. It is not set as a variable: that
# would win over DATABASE_URL, and stand beside the url_file of whoever brings a PostgreSQL.
USER 65532:65532
WORKDIR /data
VOLUME ["/data"]
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["/usr/local/bin/remgate", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/remgate"]
