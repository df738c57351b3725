"""What holds for all tests: an example of hypothesis may take its time on a busy machine.

The examples are the same every time, so that a change is judged by what it changes. `make properties` sets TORC_FUZZ,
and then they are new ones each time.
"""

import os

from hypothesis import HealthCheck, settings

settings.register_profile("same", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.register_profile("new", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("new" if os.environ.get("TORC_FUZZ") else "same")
