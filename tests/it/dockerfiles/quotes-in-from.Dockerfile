ARG Q="busybox"
FROM "$Q" AS a
FROM ${Q}:${TAG:-latest} as b.c_d-e
COPY --from="a" /bin /bin2
COPY --from=a --link=false -- /etc /etc2
