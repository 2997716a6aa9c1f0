# docker buildx bake --push, or layerlift bake --push: all six images. IMAGE=registry.example.com/shop names them.

variable "IMAGE" {
  default = "shop"
}

variable "BASE" {
  default = "python:3.12-slim"
}

target "default" {
  name   = service
  matrix = { service = ["accounts", "billing", "catalog", "gateway", "orders", "search"] }
  args   = { BASE = BASE, SERVICE = service }
  tags   = ["${IMAGE}/${service}:latest"]
}
