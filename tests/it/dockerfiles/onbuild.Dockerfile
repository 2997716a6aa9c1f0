FROM busybox AS parent
ONBUILD ENV A=1
ONBUILD RUN echo $A
ONBUILD COPY --from=tools /t /t
RUN echo parent
FROM busybox AS tools
RUN touch /t
FROM parent AS child
COPY --from=tools /t /child
FROM child
RUN echo grandchild
