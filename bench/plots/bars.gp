# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# Draws the bars of 'data', from 'base' on, one below the other: label, linetype - 1, median, quartiles.
stats data using 3 nooutput
set yrange [-STATS_records + 0.3:0.7]
set ytics scale 0
set grid noytics
set style fill solid 0.5 noborder
set arrow from base, graph 0 to base, graph 1 nohead linecolor "#000000" linewidth 1.5 front
unset key
plot data using 3:(-$0):(base):3:(-$0 - 0.35):(-$0 + 0.35):($2 + 1):ytic(1) with boxxyerror linecolor variable, \
	data using 3:(-$0):4:5:($2 + 1) with xerrorbars linewidth 2 linecolor variable pointtype 7 pointsize 0.8
