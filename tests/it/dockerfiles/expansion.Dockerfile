FROM busybox AS base
ENV A=one B='t w o' C="th\"ree" D=fo\ ur
ENV OLD style value
ENV E=${A}-${B:-x} A=changed
WORKDIR /${E%-*}/${D/ /_}/${A#ch}
RUN echo "$A" '$B' \$C ${D} ${UNSET:-d} $UNSET
COPY ${A:+a} /${OLD%e}
WORKDIR /${OLD##* }
