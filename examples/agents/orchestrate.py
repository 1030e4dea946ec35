"""Have a plan carried out by coding agents, a pool of three, and tell how it went. orchestrate.py [PLAN]"""

import sys

from queue_core import get_queue, get_status, start_worker, stop_worker, wait

queue = get_queue()
receipts = queue.submit_file(sys.argv[1] if len(sys.argv) > 1 else "plan.jsonl")
start_worker(parallelism=3)
wait(*[receipt.id for receipt in receipts], timeout=600)  # and for those that take over from them
stop_worker()

for receipt in receipts:
    job = get_status(receipt.id)
    chain = " -> ".join(f"{one['argv'][0]} ({one['state']})" for one in job["chain"]) or job["state"]
    print(f"{receipt.id}  {job['meta']['step']:8} {job['argv'][-1]:36} {chain}")
