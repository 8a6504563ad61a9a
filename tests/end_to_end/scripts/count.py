"""Print numbered lines for some seconds, and note in a file outside that it ran."""

import argparse
import os
import time
from pathlib import Path

import mltrain

parser = argparse.ArgumentParser()
parser.add_argument("--lines", type=int, default=3)
parser.add_argument("--seconds", type=float, default=0.0)
parser.add_argument("--exit-code", type=int, default=0)
parser.add_argument("--diary", type=Path, help="gets a line with the pid for every start")
parser.add_argument("--release", default="", help="it goes on until there is this file")
parser.add_argument("--say", default="")
arguments = parser.parse_args()

if arguments.diary:
    with arguments.diary.open("a") as diary:
        diary.write(f"{os.getpid()}\n")
print(arguments.say)
run = mltrain.Run.get_context()
for number in range(arguments.lines):
    print(f"line {number} of {arguments.lines}")
    run.log("number", number)
    time.sleep(arguments.seconds / arguments.lines)
while arguments.release and not Path(arguments.release).exists():
    time.sleep(0.05)
Path("outputs/counted.txt").write_text(str(arguments.lines))
print("the last word")
raise SystemExit(arguments.exit_code)
