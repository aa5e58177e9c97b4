"""The policy in a process of its own beside the loop, as in real time: both ends, and what lies
between them. `process` is the loop's end; in lock-step `policy.InlineWorker` is used instead."""
