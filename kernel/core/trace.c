// SPDX-License-Identifier: GPL-2.0
/*
 * The trace events of trace.h.
 */
#define CREATE_TRACE_POINTS
#include "trace.h"

/* the flags that peerbar_fault shows */
static_assert((__force u32)VM_FAULT_OOM == 0x001);
static_assert((__force u32)VM_FAULT_SIGBUS == 0x002);
static_assert((__force u32)VM_FAULT_NOPAGE == 0x100);
static_assert((__force u32)VM_FAULT_RETRY == 0x400);
static_assert((__force u32)VM_FAULT_FALLBACK == 0x800);
