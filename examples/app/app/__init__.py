"""A small API that describes columns of numbers."""

from flask import Flask

from app import routes


def create_app() -> Flask:
    """Makes the application; a server calls this once per worker."""
    app = Flask(__name__)
    app.register_blueprint(routes.blueprint)
    return app
