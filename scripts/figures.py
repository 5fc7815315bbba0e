"""Turns figures, one JSON object per line on standard input, into a table."""

import json
import sys

for line in sys.stdin:
    figure = json.loads(line)
    met = {True: "met", False: "not met", None: "-"}[figure["met"]]
    print(
        f"{figure['name']:<32} {figure['value']:>12.6g}  {figure['unit']:<8} {figure['spread']:>10.3g}"
        f"  {figure['aim'] or '-':<12} {met}",
        flush=True,
    )
