# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
height = 760
load "style.gp"
set title "The goals: how many times better than asked"
set xlabel "times better (median, quartiles); left of the line the goal is missed"
set logscale x
set format x "%g"
data = "goals.dat"
base = 1
load "bars.gp"
