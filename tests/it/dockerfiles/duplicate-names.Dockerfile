FROM busybox AS a
RUN echo 1 > /one
FROM a AS a
RUN echo 2 > /two
FROM a
COPY --from=a /two /three
