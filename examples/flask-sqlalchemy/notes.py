"""Flask-SQLAlchemy with an application factory, and a session of the library's own."""

from flask import Blueprint, Flask, abort, jsonify, request
from flask.typing import ResponseReturnValue
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)
routes = Blueprint("notes", __name__)


class Note(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


@routes.post("/notes")
def add() -> ResponseReturnValue:
    note = Note(text=request.get_json()["text"])
    db.session.add(note)
    db.session.commit()
    return jsonify(id=note.id), 201


@routes.delete("/notes/<int:note_id>")
def remove(note_id: int) -> ResponseReturnValue:
    note = db.session.get(Note, note_id) or abort(404)
    db.session.delete(note)
    db.session.commit()
    return "", 204


def create_app(url: str) -> Flask:
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db.init_app(app)
    app.register_blueprint(routes)
    return app
