"""The kinds of LeRobot's policies, a module each, named as `type` in a checkpoint's config.json. A
module has `stages(checkpoint) -> Stages`; it runs in LeRobot's environment."""
