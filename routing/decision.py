"""The decision table: which arm a request is sent to, and who may see its mirror.

Flags say who may, the plan says how many, the kill switch says whether. Each can only take traffic away from
the candidate, so the order in which they are asked changes the reason given, never the arm:

| the switch | mode | exposed | inside the weight | serves | may be mirrored to |
|---|---|---|---|---|---|
| no candidate, TRIPPED, or the breaker is open | any | any | any | incumbent | nobody |
| ARMED | shadow | any | any | incumbent | candidate |
| ARMED | canary, guarded | no | any | incumbent | candidate |
| ARMED | canary, guarded | yes | no | incumbent | candidate |
| ARMED | canary, guarded | yes | yes | candidate | incumbent |

Under guarded a worker asks both and serves the candidate's answer only where they agree: `gateway.guarded`.
"""

from __future__ import annotations

from domain.routing import Arm, Decision, Mode, Reason
from domain.snapshot import Endpoint


def decide(
    endpoint: Endpoint, *, exposed: bool, bucket: int, generation: int, breaker_open: bool = False
) -> Decision:
    """The decision for one request.

    Args:
        exposed: the flag's answer for the unit; True where the endpoint names no flag.
        bucket: 0..9999, the unit's place under this release (`routing.hashing.bucket`).
        breaker_open: this worker stopped asking the candidate by itself.
    """
    if endpoint.candidate is None:
        return Decision(Arm.INCUMBENT, None, Reason.NO_CANDIDATE, generation)
    if endpoint.tripped:
        return Decision(Arm.INCUMBENT, None, Reason.TRIPPED, generation)
    if breaker_open:
        return Decision(Arm.INCUMBENT, None, Reason.BREAKER, generation)
    arm, reason = Arm.INCUMBENT, Reason.INSIDE_WEIGHT
    if endpoint.mode is Mode.SHADOW:
        reason = Reason.SHADOW
    elif not exposed:
        reason = Reason.NOT_EXPOSED
    elif bucket >= endpoint.weight:
        reason = Reason.OUTSIDE_WEIGHT
    else:
        arm = Arm.CANDIDATE
    return Decision(arm, arm.other, reason, generation)
