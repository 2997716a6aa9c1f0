FROM busybox AS build
RUN <<EOF
FROM nothing AS fake
echo hello
EOF
RUN cat <<A > /x && cat <<-'B' > /y
FROM again
A
	FROM tabs
	B
COPY <<one <<"two" /docs/
FROM one
one
FROM two
two
FROM build
RUN cat /docs/one <<EOF
x
EOF
