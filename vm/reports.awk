# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#
# Prints the reports in a kernel log, each with the lines that follow it, and exits with 1 if there
# are any. kmemleak's reports are in a file of their own (leaks.awk).

{ sub(/\r$/, "") }

/WARNING:|BUG:|BUG |Oops|KASAN|UBSAN:|kernel panic|Kernel panic|general protection fault|INFO: task .* blocked|INFO: rcu|\
rcu:? .*(stall|detected)|soft lockup|hard LOCKUP|possible (circular|recursive) locking|suspicious RCU|inconsistent lock state|\
sleeping function called|bad unlock balance|held lock freed|lock held when returning|refcount_t:|list_(add|del) corruption|\
DMA-API: .*(: device driver|\[)|Call Trace:|cut here|\
stack segment|double fault|unable to handle|page allocation failure|Slab cache still has objects|still has objects|\
trying to register non-static key|allocated at module unload|DEBUG_LOCKS_WARN_ON|debugobjects|ODEBUG:|scheduling while atomic/ {
	if (!/BIOS BUG|RETBleed: WARNING|MDS CPU bug|Firmware Bug|module peerbar_test_leak /) {
		found++
		left = 40
	}
}

left > 0 { print; left-- }

END { exit found ? 1 : 0 }
