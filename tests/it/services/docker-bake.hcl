variable "IMAGES" {}
group "default" {
  targets = ["api", "web"]
}
group "all" {
  targets = ["api", "web", "job", "own"]
}
target "_common" {
  network = "host"
  labels  = { made = "here" }
}
target "api" {
  inherits = ["_common"]
  target   = "api"
  args     = { WHO = "one" }
  tags     = ["${IMAGES}/api:1"]
}
target "web" {
  inherits = ["_common"]
  target   = "web"
  tags     = ["${IMAGES}/web:1"]
}
target "tools" {
  inherits = ["_common"]
  target   = "tools"
}
target "job" {
  inherits          = ["_common"]
  name              = "job-${n}"
  matrix            = { n = ["one", "two"] }
  contexts          = { tools = "target:tools", shared = "shared" }
  dockerfile-inline = <<EOT
FROM tools
COPY --from=shared file.txt /file.txt
RUN echo ${n} && cat /proc/sys/kernel/random/uuid > /own.stamp
EOT
  tags = ["${IMAGES}/job-${n}:1"]
}
target "own" {
  inherits   = ["web"]
  cache-to   = ["type=registry,ref=${IMAGES}/own-cache:1,mode=max"]
  cache-from = ["type=registry,ref=${IMAGES}/own-cache:1"]
  tags       = ["${IMAGES}/own:1"]
}
