# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# Draws the lines of 'data': medians over X, with quartiles. 'place(x)' is where an X is.
# the key is below
set bmargin 7
stats data using 2 nooutput
plot for [i = 0:STATS_blocks - 1] data index i using (place($1)):2:3:4 with yerrorlines linetype i + 1 title columnheader(1)
