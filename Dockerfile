# docker build --build-arg COMMIT="$(git rev-parse HEAD)" -t edge .
# docker build --build-arg COMMIT="$(git rev-parse HEAD)" -t edge-tools --target tools .
FROM golang:1.26 AS build
ARG COMMIT=
WORKDIR /src
COPY . .
RUN make bin/edge COMMIT="$COMMIT" && mkdir /empty

FROM build AS build-tools
ARG COMMIT=
RUN make bin/edge-import bin/edge-bench COMMIT="$COMMIT"

FROM scratch AS tools
COPY --from=build-tools /src/bin/edge-import /usr/local/bin/edge-import
COPY --from=build-tools /src/bin/edge-bench /usr/local/bin/edge-bench
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
USER 65532:65532

FROM scratch
COPY --from=build /src/bin/edge /usr/local/bin/edge
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/packaging/docker/edge.toml /etc/edge/edge.toml
COPY --from=build --chown=65532:65532 /empty /var/lib/edge
COPY --from=build --chown=65532:65532 /empty /run/edge
USER 65532:65532
ENV STATE_DIRECTORY=/var/lib/edge
EXPOSE 80 443 443/udp
HEALTHCHECK --interval=10s --timeout=5s CMD ["/usr/local/bin/edge", "status", "--live"]
ENTRYPOINT ["/usr/local/bin/edge"]
CMD ["run", "-c", "/etc/edge/edge.toml"]
