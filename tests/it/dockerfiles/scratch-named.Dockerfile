FROM busybox AS scratch
RUN touch /x
FROM scratch
RUN --mount=type=cache,target=/c true
