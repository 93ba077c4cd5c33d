# One image with every program and the migrations; what runs is the command:
#   docker run carillon carillon-server --listen=0.0.0.0:7070 --http-listen=0.0.0.0:7080 --metrics-address=0.0.0.0:9090
#   docker run carillon carillon-worker --lane=payment
#   docker run carillon carillonctl migrate
# PostgreSQL, RabbitMQ and Redis are named by CARILLON_DATABASE_URL,
# CARILLON_AMQP_URL and CARILLON_REDIS_URL; servers and workers need CARILLON_MASTER_KEY,
# and for links and receipts CARILLON_PUBLIC_URL.
FROM debian:12 AS build
COPY deploy/packages/build.txt /tmp/packages.txt
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive xargs -a /tmp/packages.txt apt-get install -y --no-install-recommends
WORKDIR /source
COPY . .
RUN cmake --preset release -DCARILLON_BUILD_TESTS=OFF \
 && ninja -C build carillon-server carillon-relay carillon-worker carillonctl carillon-bench \
 && strip build/bin/*

FROM debian:12-slim
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      ca-certificates libabsl20220623 libcurl4 libgrpc++1.51 libhiredis0.14 libjemalloc2 libjwt0 libphonenumber8 libpqxx-6.4 \
      libprometheus-cpp-core1.0 libprometheus-cpp-pull1.0 libprotobuf32 librabbitmq4 libspdlog1.10 libssl3 tzdata \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --no-create-home --shell /usr/sbin/nologin carillon
COPY --from=build /source/build/bin/ /usr/bin/
COPY migrations/ /usr/share/carillon/migrations/
COPY LICENSE /usr/share/doc/carillon/LICENSE
USER carillon
# SIGTERM drains: give it time (docker stop --time 40).
STOPSIGNAL SIGTERM
CMD ["carillon-server", "--help"]
