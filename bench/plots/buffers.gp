# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
load "style.gp"
set title "With many live buffers"
set xlabel "live buffers"
set ylabel "time (median, quartiles)"
set logscale xy
set format x "%.0f"
set format y "%.0s %cs"
place(x) = x
data = "buffers.dat"
load "lines.gp"
