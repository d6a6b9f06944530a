# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
load "style.gp"
set title "Revoking a buffer: for good with peerbar, by decoding off with stock vfio-pci"
set xlabel "importers: mappings of iommufd, or memory regions"
set ylabel "time (median, quartiles)"
set logscale xy
# no importers have a place too, which a logarithm has not
place(x) = x > 0 ? x : 0.2
set xtics ("0" 0.2, "1" 1, "10" 10, "100" 100, "1000" 1000)
set xrange [0.15:*]
set format y "%.0s %cs"
data = "revoke.dat"
load "lines.gp"
