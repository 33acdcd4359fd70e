"""The members of enums that every request meets, each by one name.

`Arm.INCUMBENT` asks the enum's metaclass for an attribute, which costs as much as hashing a unit does. These
names are looked up once; where the hot path is compiled they cost nothing (`gateway.accelerator`).
"""

from __future__ import annotations

from typing import Final

from domain.observation import Outcome
from domain.routing import Arm

INCUMBENT: Final = Arm.INCUMBENT
CANDIDATE: Final = Arm.CANDIDATE
ANSWERED: Final = Outcome.ANSWERED
