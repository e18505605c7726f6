"""Computes reference.json: what baselines of fixed data must say, by exact quantiles and the formulas of the package doc.

Made with: python3 reference.py > reference.json

Each case has workloads with the totals of their windows, one a minute from minute 0, the first `reference` of them in
the learning period; `deviation` and `typical` are those of the first workload, unrounded.
"""

import json
import math
import random

FLOOR, IGNORANT, ACTIVE = 0.5, 16.0, 5
SILENCE = {"egress_bytes": 4.0, "staged_files": 1.0}
MONTH = 30 * 24 * 60
PER_MONTH, TOTAL = 1.25, 1.5


def lg(x):
    return math.log2(1 + x)


def quantile(values, permille):
    ordered = sorted(values)
    return ordered[-(-permille * len(ordered) // 1000) - 1]


def mix(a, b, w):
    if w == 1:
        return a
    doubt = w * (1 - w) * (a[0] - b[0]) ** 2
    return (
        w * a[0] + (1 - w) * b[0],
        math.sqrt(w * a[1] ** 2 + (1 - w) * b[1] ** 2 + doubt),
        w * a[2] + (1 - w) * b[2],
    )


def normal(windows, metric):
    quiet = (0.0, SILENCE[metric], 0.0)
    active = [x for x in windows if x > 0]
    if not active:
        return quiet
    median = lg(quantile(active, 500))
    own = (median, max(lg(quantile(active, 840)) - median, FLOOR), lg(quantile(active, 990)))
    silent = (len(windows) - len(active)) / len(windows)
    mixed = mix(own, quiet, 1 - silent * 2 ** (-len(active) / ACTIVE))
    return mixed[:2] + (own[2] * (1 - silent * 2 ** -len(active)),)


def weight(windows, min_windows):
    leaning = min_windows / 4
    return 1 if len(windows) >= 20 * leaning else 1 - 2 ** (-len(windows) / leaning)


def clamp(x, lo, hi):
    return min(max(x, lo), hi)


def expect(case):
    metric, least = case["metric"], case["min_windows"]
    first = case["workloads"][0]
    pooled = [x for w in case["workloads"] for x in w["totals"]]
    image = [x for w in case["workloads"] if w["image"] == first["image"] for x in w["totals"]]
    lean = normal(pooled, metric)
    lean = mix(lean, (lean[0], IGNORANT, lean[2]), weight(pooled, least))
    lean = mix(normal(image, metric), lean, weight(image, least))

    own = normal(first["totals"], metric)
    reference = first["totals"][: case["reference"]]
    later = len(first["totals"]) - len(reference)
    if later > 0:
        r = normal(reference, metric)
        g = min(math.log2(TOTAL), math.log2(PER_MONTH) * later / MONTH)
        own = (
            clamp(own[0], r[0] - g, r[0] + g),
            clamp(own[1], r[1] / 2**g, r[1] * 2**g),
            clamp(own[2], r[2] - g, r[2] + g),
        )
    own = mix(own, lean, weight(first["totals"], least))
    case["deviation"] = {str(x): (lg(x) - own[0]) / own[1] for x in case["ask"]}
    case["typical"] = 2 ** own[2] - 1
    return case


def lognormal(rng, n, median, factor):
    return [int(median * math.exp(rng.gauss(0, math.log(factor)))) for _ in range(n)]


def main():
    rng = random.Random(1)
    ask = [0, 1, 1000, 10**6, 10**7, 10**9, 10**10, 10**13]
    web = lambda totals, image="nginx": {"image": image, "totals": totals}
    backup = [10**10 + rng.randrange(10**9) if i % 60 < 10 else 0 for i in range(700)]
    cases = [
        ("a workload with much to go by stands alone", "egress_bytes", None, [web(lognormal(rng, 700, 10**6, 2)), web(lognormal(rng, 700, 10**9, 2))]),
        ("windows that are all alike have the least spread", "egress_bytes", None, [web([4096] * 700)]),
        ("a metric that never was active is silent", "egress_bytes", None, [web([0] * 700)]),
        ("a count that never was active is silent sooner", "staged_files", None, [web([0] * 700)]),
        ("a backup is compared with backups", "egress_bytes", None, [web(backup)]),
        ("one active window among many silent ones is doubtful", "egress_bytes", None, [web([0] * 350 + [10**9] + [0] * 349)]),
        ("one window and nothing else known", "egress_bytes", None, [web([10**5])]),
        ("few windows lean on the image", "egress_bytes", None, [web(lognormal(rng, 20, 10**5, 2)), web(lognormal(rng, 300, 10**7, 3)), web(lognormal(rng, 300, 10**3, 2), "redis")]),
        ("few windows of a new image lean on the pool", "egress_bytes", None, [web(lognormal(rng, 10, 10**5, 2)), web(lognormal(rng, 500, 10**7, 4), "redis")]),
        ("what is learned later moves little", "egress_bytes", 600, [web(lognormal(rng, 600, 10**5, 2) + lognormal(rng, 600, 8 * 10**5, 2))]),
    ]
    fewest = [
        ("one window is enough where somebody says so", 1, [web([10**5])]),
        ("just enough windows weigh most themselves", 20, [web(lognormal(rng, 20, 10**5, 2)), web(lognormal(rng, 90, 10**7, 3))]),
    ]
    out = []
    for name, metric, reference, workloads in cases:
        reference = reference or len(workloads[0]["totals"])
        out.append(expect({"name": name, "metric": metric, "min_windows": 120, "reference": reference, "ask": ask, "workloads": workloads}))
    for name, least, workloads in fewest:
        reference = len(workloads[0]["totals"])
        out.append(expect({"name": name, "metric": "egress_bytes", "min_windows": least, "reference": reference, "ask": ask, "workloads": workloads}))
    lines = ",\n".join(json.dumps(c) for c in out)
    print("[\n" + lines + "\n]")


if __name__ == "__main__":
    main()
