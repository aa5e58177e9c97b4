"""Write one self-contained HTML page about a run, or about telemetry of another robot.

`write_report` reads a recording; `write_score_report` draws arrays. The pages open from a file,
request nothing from a network, and contain uPlot (MIT, static/uPlot.LICENSE) for their plots.
"""

from headway.tools.report.run import report_command as report_command
from headway.tools.report.run import write_report as write_report
from headway.tools.report.score import write_score_report as write_score_report
from headway.tools.report.score_index import Entry as Entry
from headway.tools.report.score_index import write_score_index as write_score_index
