"""Gateway: the address that customers see."""

from flask import jsonify

from shared.web import service

app = service("gateway")
SERVICES = ("accounts", "billing", "catalog", "orders", "search")


@app.get("/")
def services():
    return jsonify(services=SERVICES)
