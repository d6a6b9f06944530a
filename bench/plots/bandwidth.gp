# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
load "style.gp"
set title "RDMA write, two processes, and memcpy"
set xlabel "size of a message"
set ylabel "bandwidth (MiB/s; median, quartiles)"
set logscale x 2
set logscale y
set xtics ("64 B" 64, "256 B" 256, "1 KiB" 1024, "4 KiB" 4096, "16 KiB" 16384, "64 KiB" 65536, "256 KiB" 262144, "1 MiB" 1048576)
set format y "%g"
place(x) = x
data = "bandwidth.dat"
load "lines.gp"
