# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
# What all plots share. 'kind' is png or svg; 'height' may be set before. The picture goes to standard output.
if (!exists("height")) height = 520
if (kind eq "svg") {
	set terminal svg size 960,height noenhanced font "DejaVu Sans,Verdana,sans-serif,14" background "#ffffff"
} else {
	set terminal pngcairo size 960,height noenhanced font "DejaVu Sans,11" background "#ffffff"
}
# told apart by those who see no colours, too: each has a point of its own
set linetype 1 linecolor "#0072b2" linewidth 2 pointtype 7 pointsize 1.1
set linetype 2 linecolor "#d55e00" linewidth 2 pointtype 5 pointsize 1.1
set linetype 3 linecolor "#009e73" linewidth 2 pointtype 9 pointsize 1.3
set linetype 4 linecolor "#cc79a7" linewidth 2 pointtype 13 pointsize 1.4
set linetype 5 linecolor "#000000" linewidth 2 pointtype 11 pointsize 1.3
set linetype 6 linecolor "#e69f00" linewidth 2 pointtype 4 pointsize 1.1
set border 3 linecolor "#444444"
set grid linecolor "#dddddd" linetype 1 linewidth 1
set tics nomirror textcolor "#000000"
set key at screen 0.5, 0.01 center bottom horizontal Left reverse samplen 3 maxcols 2
set rmargin 6
set title font ",15"
