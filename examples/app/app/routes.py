"""The API's addresses: HTTP in, values out."""

from flask import Blueprint, jsonify, request
from werkzeug.exceptions import BadRequest

from app.statistics import describe

blueprint = Blueprint("api", __name__)


@blueprint.get("/health")
def health():
    """Says that the worker is up."""
    return jsonify(status="ok")


@blueprint.post("/describe")
def describe_columns():
    """Answers `{"column": [numbers]}` with count, mean, spread and quartiles of each column."""
    columns = request.get_json()
    if not isinstance(columns, dict):
        raise BadRequest("expected an object of columns")
    try:
        return jsonify(describe(columns))
    except ValueError as error:
        raise BadRequest(str(error)) from error
