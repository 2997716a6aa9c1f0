"""A service as a Flask application: a name, its health, and what it adds."""

from flask import Flask, jsonify


def service(name: str) -> Flask:
    """Makes the application of a service, which says that it is up at `/health`."""
    app = Flask(name)

    @app.get("/health")
    def health():
        return jsonify(service=name, status="ok")

    return app
