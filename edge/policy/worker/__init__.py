"""A policy in a process of its own, which is how it runs in real time: `process` is the loop's end,
`child` the policy's. In lock-step `headway.edge.policy.policy.InlineWorker` is used instead."""
