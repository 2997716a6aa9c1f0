"""Accounts: who a customer is."""

from flask import abort, jsonify

from shared.web import service

app = service("accounts")
CUSTOMERS = {1: "Ada", 2: "Grace"}


@app.get("/customers/<int:number>")
def customer(number: int):
    return jsonify(name=CUSTOMERS[number]) if number in CUSTOMERS else abort(404)
