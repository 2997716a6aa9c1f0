# a comment
FROM \
  # inside
  busybox \

  AS base

RUN echo a \
# FROM comment
    && echo b \

    && echo 'c \\' \
    d
   # indented
   COPY . \
 /x
