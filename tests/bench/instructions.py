"""Counts the instructions of short paths of the library, and compares them with stored figures.

  instructions.py DRIVER            exit 1 where a path takes more than it did, by more than MARGIN
  instructions.py DRIVER --update   store what it takes now

DRIVER is the binary //tests/bench:instruction_driver, built with -c opt. valgrind counts, in user
mode, and twice: with some repetitions and with more. The difference is the repetitions' alone.

Instructions do not depend on how busy or how fast the machine is. They do depend on the compiler,
so that there are figures for each; and on the variants of memcpy and the like that the C library
chooses, for which valgrind gives every processor with AVX2 the same answers.
"""

import json
import pathlib
import re
import subprocess
import sys

STORE = pathlib.Path(__file__).with_name("instructions.json")
# Beyond what a run differs from the next (below 1 %), and below what is worth a look.
MARGIN = 0.05
# What is counted, and how often it is done: what takes longer, less often.
WORKS = {
    "read-64-bytes-by-file-io": 4000,
    "read-64-bytes-by-mmap": 4000,
    "look-up-among-65535": 4000,
    "read-register": 1000,
}
UPDATE = "python3 tests/bench/instructions.py DRIVER --update"


def instructions(driver, work, times):
    result = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", driver, work,
         str(times)], capture_output=True, text=True, check=False)
    collected = re.search(r"Collected : (\d+)", result.stderr)
    if result.returncode != 0 or not collected:
        sys.exit(f"instructions.py: {driver} {work}, under valgrind: {result.stderr.strip()}")
    return int(collected.group(1))


def instructions_each(driver, work, times):
    return (instructions(driver, work, 2 * times) - instructions(driver, work, times)) / times


def compare(work, counted, stored):
    """A line, and whether it is all right."""
    if stored is None:
        return f"{work}: {counted:.0f} instructions, and no figure is stored; {UPDATE}", False
    change = counted / stored - 1
    line = f"{work}: {counted:.0f} instructions, stored {stored:.0f}, {change:+.1%}"
    if change > MARGIN:
        return f"{line}: MORE than {MARGIN:.0%}; if that is worth it: {UPDATE}", False
    if change < -MARGIN:
        return f"{line}: less; keep it so: {UPDATE}", True
    return f"{line}: ok", True


def main():
    if len(sys.argv) not in (2, 3) or sys.argv[2:] not in ([], ["--update"]):
        sys.exit(__doc__)
    driver = sys.argv[1]
    compiler = subprocess.run([driver, "--compiler"], check=True, capture_output=True,
                              text=True).stdout.strip()
    counted = {work: instructions_each(driver, work, times) for work, times in WORKS.items()}
    store = json.loads(STORE.read_text(encoding="utf-8")) if STORE.exists() else {}
    if sys.argv[2:]:
        store[compiler] = {work: round(count) for work, count in counted.items()}
        STORE.write_text(json.dumps(store, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        return 0
    stored = store.get(compiler, {})
    if not stored:
        print(f"no figures are stored for compiler {compiler}")
    results = [compare(work, count, stored.get(work)) for work, count in counted.items()]
    for line, _ in results:
        print(line)
    return 0 if all(right for _, right in results) else 1


sys.exit(main())
