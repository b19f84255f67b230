import os


class Settings:
    def __init__(self):
        self.length = len(os.environ["APP_URL"])


def make():
    return Settings()


settings = make()
