"""`python -m headway.learn.pro`: see `training`."""

import tyro

from headway.learn.pro.training import Args, main

main(tyro.cli(Args))
