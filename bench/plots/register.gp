# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
load "style.gp"
set title "Registering a buffer as a memory region"
set xlabel "size of the buffer"
set ylabel "time (median, quartiles)"
set logscale x 2
set logscale y
set format x "%.0b %BB"
set format y "%.0s %cs"
place(x) = x
data = "register.dat"
load "lines.gp"
