FROM busybox
ARG TOKEN=visible
RUN --mount=type=secret,id=t,env=TOKEN echo $TOKEN
