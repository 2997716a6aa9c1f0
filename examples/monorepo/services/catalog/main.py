"""Catalog: what there is to buy, with prices in cents."""

from flask import jsonify

from shared.web import service

app = service("catalog")
PRICES = {"lamp": 4900, "table": 18900}


@app.get("/prices")
def prices():
    return jsonify(PRICES)
