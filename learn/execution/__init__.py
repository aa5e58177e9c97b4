"""Learning from execution: what the robot did and felt becomes the credit of its decisions, and the
credit the next policy.

rollouts -> lessons (`lessons`, `targets`) -> what they are worth (`process`, `outcome`, `values`)
-> a critic and a policy (`critic`, `extraction`) -> the next rollouts (`unit`).
"""
