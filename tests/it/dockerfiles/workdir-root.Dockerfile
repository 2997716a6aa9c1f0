FROM busybox
WORKDIR /
RUN true
WORKDIR /a
WORKDIR ..
WORKDIR b
RUN echo last
