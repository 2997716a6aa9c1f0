"""Billing: what an order costs."""

from flask import jsonify, request

from shared.web import service

app = service("billing")
TAX_PERCENT = 19


@app.post("/total")
def total():
    """The sum in cents of `{"prices": [cents]}`, tax included and rounded down."""
    net = sum(request.get_json()["prices"])
    return jsonify(total=net * (100 + TAX_PERCENT) // 100)
