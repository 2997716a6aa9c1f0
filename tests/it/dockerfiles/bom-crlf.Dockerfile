# check=skip=all
FROM busybox AS base
RUN echo a \
  && echo b

FROM base
WORKDIR /x
