"""What holds for all tests: an example of hypothesis may take its time on a busy machine."""

from hypothesis import settings

settings.register_profile("torcd", deadline=None)
settings.load_profile("torcd")
