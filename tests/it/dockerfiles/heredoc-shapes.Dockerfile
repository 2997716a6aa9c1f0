FROM busybox
RUN <<EOF
#!/bin/sh
echo $HOME
EOF
RUN <<-'EOF' sh
	echo it
	EOF
RUN 3<<EOF cat <&3
three
EOF
RUN ["cat", "<<EOF"]
RUN echo "<<EOF"
RUN cat <<<word
ADD <<"END" /one
$x
END
RUN <<EOF

  first
second
EOF
