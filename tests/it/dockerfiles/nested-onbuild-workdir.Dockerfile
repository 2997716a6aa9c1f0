FROM busybox AS parent
ONBUILD WORKDIR /
ONBUILD RUN <<EOF
echo heredoc
EOF
FROM parent
RUN true
