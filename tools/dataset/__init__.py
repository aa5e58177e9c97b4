"""`headway dataset`: recordings as a LeRobotDataset (version 3.0), and back.

Export: `select` (which recordings, at which rate, with which features), `episode` (one recording as
frames at one rate), `stats` and `video` (statistics and MP4 files), `writer` (the files of a data
set), `export` (the command). Import: `reader` (the files of a data set), `robot` (what its features
mean), `restore` (one episode as a recording), `importer` (the command). `layout` has the names of
files and features, `packages` the libraries that have to be installed.

The layout is that of LeRobot 0.4 (github.com/huggingface/lerobot, lerobot/datasets).
"""
