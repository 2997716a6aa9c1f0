FROM busybox AS unused
RUN --mount=target=/src ls
FROM busybox AS one
RUN touch /a
FROM busybox AS two
RUN --mount=type=bind,from=one,source=/a,target=/m --mount=type=cache,target=/c,id=x --mount=type=tmpfs,target=/t \
    --mount=from=busybox,target=/n,src=/bin ls
FROM scratch AS three
COPY --from=two / /
