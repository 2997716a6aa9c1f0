#!/usr/bin/env docker build
# escape=`
FROM busybox
RUN echo a \
  b
