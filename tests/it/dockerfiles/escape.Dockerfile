# escape=`
FROM busybox AS base
RUN echo a `
  && echo C:\
WORKDIR /a\b
FROM base
