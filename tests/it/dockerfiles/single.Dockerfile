FROM busybox
RUN true
COPY . /x
