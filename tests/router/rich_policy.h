/* A policy that has one of everything, for tests that break it. */
#ifndef TESTS_ROUTER_RICH_POLICY_H
#define TESTS_ROUTER_RICH_POLICY_H

static const char rich[] =
    "waypost_policy: 1\n"
    "version: rich\n"
    "targets:\n"
    "  cloud: { modes: [prompt, hidden], where: eu, identity: cloud.example,\n"
    "           price: { in: 1.5, out: 2 } }\n"
    "  home: { modes: [prompt], where: owner, overridable: true }\n"
    "classes:\n"
    "  a: { permits: [{ mode: prompt, target: cloud }, { mode: hidden, where: eu }],\n"
    "       because: open, overridable: true }\n"
    "  a.b: none\n"
    "  c: any\n"
    "callers:\n"
    "  nav: { match: { socket: s, uid: 7 }, labels: [a, c.*], seat: driver, priority: 3,\n"
    "         quota: { requests: 9, bytes: 1000, per: hour } }\n"
    "  other: { match: { key_sha256: \"00000000000000000000000000000000000000000000000000000000"
    "00000000\" } }\n"
    "budgets:\n"
    "  b: { unit: bytes, limit: 1e6, per: [seat, day], targets: [cloud, home] }\n"
    "consents: { share: { lapses: trip, ask: \"May I?\" } }\n"
    "signals: { Vehicle.Speed: { type: number, unit: km/h, max_age_ms: 500 } }\n"
    "share: { edge: 0.7, over: 50, moves: [{ rule: r, fact: confidence, min: 0.2, max: 0.9 }] }\n"
    "rules:\n"
    "  - name: odd\n"
    "    when: { any: [{ all: [{ engine.local_ms: { between: [2, 9] } }] }, { request.tools: true },\n"
    "            { not: { data.history: { all: [a, c.*] } } }], caller: { in: [nav, other] } }\n"
    "    route: local\n"
    "  - { name: r, when: { data.class: { only: [c.x, c.*] }, confidence: { lt: 0.5 },\n"
    "        Vehicle.Speed: { le: 3 }, budget.b.left: { gt: 10 }, consent.share: true },\n"
    "      route: hidden, target: cloud, layer: 10, dtype: f16, tail: edge, max_bytes: 5000,\n"
    "      because: \"Far too hard,\\nand public.\" }\n"
    "  - { name: s, when: { data.class: { only: [a] } }, route: prompt, target: cloud }\n"
    "  - { name: t, when: { data.class: { only: [c.y] }, link.metered: false }, route: prompt,\n"
    "      target: home, fallback: refuse }\n";

#endif
