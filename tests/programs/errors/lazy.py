class Lazy:
    # Like Django's SimpleLazyObject, or a proxy of Celery or wrapt.
    @property
    def __class__(self):
        return type(self.evaluate())

    def evaluate(self):
        raise LookupError("not bound")

    def use(self):
        return self.evaluate()


def test_fails(pg_url):
    Lazy().use()


def test_passes(pg_url):
    pass
