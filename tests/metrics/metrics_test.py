"""metrics_test.py PROMTOOL PROGRAM: what PROGRAM prints must please `promtool check metrics`, warnings included."""

import subprocess
import sys


def main(promtool, program):
    printed = subprocess.run([program], capture_output=True, text=True, check=False)
    if printed.returncode != 0 or not printed.stdout:
        sys.exit(f"{program} ended with {printed.returncode} and printed {len(printed.stdout)} characters\n{printed.stderr}")
    judged = subprocess.run([promtool, "check", "metrics"], input=printed.stdout, capture_output=True, text=True, check=False)
    if judged.returncode != 0 or judged.stdout or judged.stderr:
        sys.exit(f"promtool ended with {judged.returncode}:\n{judged.stdout}{judged.stderr}\nof\n{printed.stdout}")
    print(f"promtool accepts {printed.stdout.count('# TYPE')} metrics")


if __name__ == "__main__":
    main(*sys.argv[1:])
