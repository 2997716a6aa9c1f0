FROM localhost:5077/dockerfile/missing AS broken
RUN false
FROM busybox AS base
COPY --from=broken /x /y
FROM busybox
COPY a /a
