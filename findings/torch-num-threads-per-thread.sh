#!/usr/bin/env bash
# torch.set_num_threads(1) in a thread says nothing yet: it takes hold at that thread's first operation, or first look at the number.
# If another thread sets another number in between, as a pool does that starts threads of one each and then restores its own, the
# thread computes with that other number. A look with torch.get_num_threads() right behind the setting makes it stay.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import threading

import torch

print({"torch": torch.__version__})
torch.set_num_threads(3)


def number_in_a_thread(looks: bool) -> int:
    is_set, may_compute, seen = threading.Event(), threading.Event(), []

    def run() -> None:
        torch.set_num_threads(1)
        if looks:
            torch.get_num_threads()
        is_set.set()
        may_compute.wait()
        seen.append(torch.get_num_threads())

    thread = threading.Thread(target=run)
    thread.start()
    is_set.wait()
    torch.set_num_threads(3)  # in the main thread: it has this number already
    may_compute.set()
    thread.join()
    return seen[0]


without, looked = number_in_a_thread(False), number_in_a_thread(True)
print(f"set to 1 in a thread, then to 3 in the main thread; the thread has {without}, and with a look in between {looked}")
assert looked == 1
assert without == 3, "a thread's own number holds at once now"
PY
# Seen with torch 2.13.0 (CPU):
# set to 1 in a thread, then to 3 in the main thread; the thread has 3, and with a look in between 1
