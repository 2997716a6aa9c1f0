"""Orders: what was bought, kept in memory."""

from flask import jsonify, request

from shared.web import service

app = service("orders")
ORDERS: list[dict] = []


@app.post("/orders")
def order():
    ORDERS.append(request.get_json())
    return jsonify(number=len(ORDERS)), 201
