FROM scratch AS empty
WORKDIR /
COPY . /
FROM empty
WORKDIR .
WORKDIR x
ENV P=$PATH
COPY a$P /b
