# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
load "style.gp"
set title "Memory of an object"
set xlabel "bytes (median, quartiles)"
set logscale x
set format x "%.0f"
set xrange [1:*]
data = "memory.dat"
base = 1
load "bars.gp"
