# Synthea with Java, for machines that have Docker and no Java. Build from the checkout's root:
#   docker build --tag resolver-synthea:3.3.0 --file docker/synthea.Dockerfile .
# `resolver synthea generate --via docker` runs it without a network and with the caller's user id.
ARG SYNTHEA_VERSION=3.3.0

FROM maven:3.9-eclipse-temurin-17 AS fetch
ARG SYNTHEA_VERSION
COPY synthea_runner/pom.xml /fetch/pom.xml
RUN mvn --batch-mode --file /fetch/pom.xml -Dsynthea.version=${SYNTHEA_VERSION} \
    dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=/opt/synthea/lib

FROM eclipse-temurin:17-jre
COPY --from=fetch /opt/synthea/lib /opt/synthea/lib
# Whoever calls it has no home in the image; Java and Synthea write only to /out.
WORKDIR /tmp
ENTRYPOINT ["java"]
