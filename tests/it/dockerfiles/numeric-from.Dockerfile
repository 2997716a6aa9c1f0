FROM busybox
RUN touch /a
FROM busybox
RUN touch /b
FROM scratch
COPY --from=0 /a /a
COPY --from=1 /b /b
