"""The kinds of policies; one module per kind. `headway.edge.policy.config.PolicyModule` says what a
module has to offer. Other packages add kinds through entry points of the group `headway.kinds`."""
