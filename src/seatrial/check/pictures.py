"""A drawing in characters for each property: what a proof rules out, or what it promises, at one look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

PICTURES: Final[Mapping[str, str]] = {
    "references/exist": """
pod ──configMapKeyRef──▶ ConfigMap settings, key url     resolved
pod ──secretRef────────▶ Secret token                    expected from outside
pod ──volume───────────▶ ConfigMap setings               ✗ settings is meant
""",
    "schema/valid": """
file ──▶ [ schema ]──▶[ defaults ]──▶[ field rules ]──▶ stored
                                            └──▶ ✗ spec.ports[0].port: Invalid value: 0
""",
    "network/reaches": """
pod p ──egress──▶│ policies of p │──▶ Service s:n ──▶│ policies of q │──ingress──▶ pod q
      └──────────│  53/UDP       │──▶ DNS
""",
    "config/reaches": """
ConfigMap changes ──▶ volume   the file follows
                  ──▶ env      after a restart
                  ──▶ subPath  ✗ never, whoever reloads
""",
    "schedule/fits": """
pods wait  1 2 3 4        in every order
           │ │ │ └──▶ ✗ no node
nodes     [1][2][3]
""",
    "schedule/preemption-stable": """
node full of old pods (priority 0)
        ◀── a new pod of another workload (priority 1000 by default): ✗ an old one is preempted
""",
    "schedule/survives": """
node-1 [a a]   node-2 [a]   node-3 [a]
   ✗ fails          2 are left >= minAvailable
""",
    "schedule/survives-maintenance": """
drain node-1:   node-1 [ ]    node-2 [a a]  node-3 [a]
let it in:      node-1 [ ]    node-2 [a a]  node-3 [a]     nobody moves back
node-2 fails:                     ✗         1 is left >= minAvailable ?
""",
    "drain/completes": """
drain node-1:  evict a ──▶ budget: allowed 1 ──▶ a starts elsewhere, is ready ──▶ evict b ──▶ empty
                       └─▶ budget: allowed 0, for ever                        ✗
""",
    "storage/attaches": """
claim ──▶ volume ──▶ node-1 [pod] ✓
             └─────▶ node-2 [pod] ✗ one node at a time
""",
    "start/converges": """
nothing ──▶ created ──▶ placed ──▶ init ──▶ started ──▶ all ready
                                     └──▶ waits for ever  ✗
""",
    "start/dependencies": """
a ──waits for──▶ Service b ──backed by──▶ pods of b ──wait for──▶ Service a
▲                                                                    │
└────────────────────────────── ✗ ◀──────────────────────────────────┘
""",
    "nodes/cascade": """
node-1 fails ──▶ its pods move to node-2 ──▶ limits there > memory ──▶ ✗ node-2 fails ──▶ ...
""",
    "arithmetic/rollout": """
pods   replicas + maxSurge          ┄┄┄┄┄┄┄┄┄┄┄┄┄┄
       old + new                    ▔▔▁▁▔▔▁▁▔▔▁▁▔▔    for every size
ready  replicas - maxUnavailable    ┄┄┄┄┄┄┄┄┄┄┄┄┄┄
""",
    "arithmetic/autoscaling": """
replicas  maxReplicas ┄┄┄┄┄┄┄┄┄┄┄┄┄▁▁▁▁
                            ▁▁▁▁▔▔▔▔
          minReplicas ▁▁▁▁▔▔┄┄┄┄┄┄┄┄┄┄┄   load ──▶
""",
    "arithmetic/disruption": """
healthy  h      allowed a > 0  ⇒  h - a >= minAvailable
""",
    "probe/startup-time": """
start ├────────── starting ──────────┤ serves
      ├ initialDelay ┤x period │ x │ x ✗ killed    failureThreshold reached before it serves
""",
    "probe/cascade": """
dependency goes away ──▶ liveness of every replica fails ──▶ ✗ all restart together
""",
    "stop/graceful": """
deleted ├── preStop ──┤ SIGTERM ├── requests end ──┤
        ├──────── terminationGracePeriodSeconds ─────────┤ SIGKILL
""",
    "job/completes": """
pod runs ──▶ succeeds ──▶ Complete
   └─ evicted ──▶ another is made ──▶ ...
             └──▶ ✗ counted as a failure: backoffLimit
""",
    "admission/possible": """
create a pod of the webhook ──▶ API ──asks──▶ webhook ──▶ its pods: none yet ──▶ ✗ refused, for ever
""",
    "quota/leaves-room": """
quota ┤████████████│██│    used by pods │ by the surge │
                       ✗ no room for the next
""",
    "rollout/converges": """
install ──▶ ... ──▶ done ──▶ change ──▶ ... ──▶ done ⟲
                                         └────▶ ✗ a state or a loop without it
""",
    "rollout/available": """
available   wanted                  ▔▔▔▔▁▁▔▔▁▁▔▔▔▔
            wanted - maxUnavailable ┄┄┄┄┄┄┄┄┄┄┄┄┄┄  never below
""",
    "rollout/rollback": """
done ──▶ change that crashes ──▶ taken back at any moment ──▶ ... ──▶ done ⟲
                                                            └──▶ ✗ stays broken
""",
    "rollout/keeps-serving": """
available   ▔▔▔▔▁▁▁▁▁▁▁▁▁▁▁▁   a change whose containers never get ready
            1 ┄┄┄┄┄┄┄┄┄┄┄┄┄┄   never below
""",
    "rollout/withstands": """
done ──▶ change ──▶ ... ─ a fault, at any moment ─▶ ... ──▶ done ⟲
                          container, node, lost event, another change
""",
    "rollout/bounded-surge": """
asked for   replicas + maxSurge ┄┄┄┄┄┄┄┄┄┄┄┄┄┄  never above
            all ReplicaSets     ▁▁▔▔▔▔▔▔▔▔▔▔▁▁
""",
    "rollout/spread": """
before  node-1 [a]  node-2 [a]  node-3 [a]
after   node-1 [ ]  node-2 [b]  node-3 [b b]   ✗ skew 2 > maxSkew 1
""",
    "scale/stable": """
replicas     ▁▁▔▔▔▔▔▔▔▔▔▔▔▔    load stands still: so do they
           ✗ ▁▁▔▔▁▁▔▔▁▁▔▔▁▁
""",
    "scale/bounded": """
replicas  ✗        ▔▔▔▔▔▔    far above
          what the load needs ┄┄┄┄┄┄┄┄
""",
    "evict/stable": """
create ──▶ place ──▶ start ──▶ evict
   ▲                             │
   └──────────── ✗ ◀─────────────┘
""",
}
