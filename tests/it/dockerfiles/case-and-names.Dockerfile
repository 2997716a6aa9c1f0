from busybox as Build
run echo a > /a
From build As Second
copy --from=BUILD /a /b
FROM scratch
COPY --from=SECOND /b /c
