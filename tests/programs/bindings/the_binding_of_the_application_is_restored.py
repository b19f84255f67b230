import app


def test_in_a_test(pg):
    assert app.Session.kw["bind"] is not app.engine
    assert app.SyncScoped.session_factory.kw["bind"] is not app.sync_engine


def test_without_a_database():
    assert app.Session.kw["bind"] is app.engine
    assert app.Session.kw.keys() == {"bind", "expire_on_commit"} | (
        app.Session.kw.keys() & {"autoflush", "info"}
    )
    assert app.SyncScoped.session_factory.kw["bind"] is app.sync_engine
