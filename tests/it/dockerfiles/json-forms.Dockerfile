FROM busybox
COPY ["a b", "c", "/x/"]
RUN ["echo", "FROM x"]
RUN [ -f /x ] && true
ADD ["a", "/y"]
CMD ["sh"]
ENTRYPOINT []
