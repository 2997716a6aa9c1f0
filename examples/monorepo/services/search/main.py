"""Search: products by a part of their name."""

from flask import jsonify, request

from shared.web import service

app = service("search")
PRODUCTS = ("lamp", "table", "tablecloth")


@app.get("/search")
def search():
    wanted = request.args.get("q", "")
    return jsonify([name for name in PRODUCTS if wanted in name])
