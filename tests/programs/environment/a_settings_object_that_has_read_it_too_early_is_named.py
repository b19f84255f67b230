import os


class Settings:
    def __init__(self):
        self.url = os.environ["APP_URL"]


class Lazy:
    def __getattribute__(self, name):
        raise RuntimeError("not yet")


lazy, settings = Lazy(), Settings()
