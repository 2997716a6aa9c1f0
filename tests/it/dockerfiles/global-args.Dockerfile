ARG A=busybox B=latest
ARG IMAGE=${A}:${B}
FROM ${IMAGE} AS one
ARG A
ARG C=d
WORKDIR /$A/$C/${IMAGE:-none}
FROM --platform=$BUILDPLATFORM $A AS two
ARG TARGETARCH
WORKDIR /$TARGETARCH
COPY --from=one / /x
