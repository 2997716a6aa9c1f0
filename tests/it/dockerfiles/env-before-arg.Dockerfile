ARG V=global
FROM busybox
WORKDIR /$V
ARG V
WORKDIR /$V
ENV V=env
WORKDIR /$V
ARG V=again W=$V
WORKDIR /$V/$W
