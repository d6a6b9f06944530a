# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
load "style.gp"
set title "RDMA write, one message at a time"
set xlabel "latency (with quartiles)"
set format x "%.0s %cs"
set xrange [0:*]
data = "latency.dat"
base = 0
# five tics or so, each with its unit
stats data using 3 nooutput
power = 10 ** floor(log10(STATS_max / 5))
part = STATS_max / 5 / power
set xtics power * (part < 2 ? 2 : part < 5 ? 5 : 10)
load "bars.gp"
