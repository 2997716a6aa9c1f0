FROM --platform=linux/amd64 busybox AS x
ADD --chown=1:1 --chmod=755 --link a /a
COPY --chmod=644 a /b/
RUN --network=none true
HEALTHCHECK --interval=5s --start-interval=1s CMD true
FROM x AS y
LABEL a=b
EXPOSE 80
