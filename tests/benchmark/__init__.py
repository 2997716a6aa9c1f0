"""The benchmark: what tests/bench runs.

command      the command line; which parts run, and what is written
builds       every cell of the comparison: workload, scenario, contender, latency, round
workloads    what is built, and what shows in an image that it was built from just this
scenarios    what happened to a project since its last build
contenders   the ways to get an image into the registry, as lines that people write
proof        the pushed images, held against the files that they were built from
overhead, reuse   the parts that are no comparison of contenders

engines      engines without any state
registry     a registry without anything in it, and the base images
proxy        the way to it: counts bytes, adds latency
measuring    seconds, bytes and CPU seconds of commands; and the machine
testbed      the functions of tests/testbed/lib.sh
interrupts   Ctrl-C ends what was started

runs, table, chart   what was measured -> medians and ratios -> Markdown, SVG
"""
