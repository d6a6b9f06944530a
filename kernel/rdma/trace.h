/* SPDX-License-Identifier: GPL-2.0 */
/* Tracepoints, in events/peerbar/rdma_*. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM peerbar

#if !defined(_PEERBAR_RDMA_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _PEERBAR_RDMA_TRACE_H

#include <linux/tracepoint.h>
#include <rdma/ib_cm.h>
#include <rdma/rdma_cm.h>
#include <trace/misc/rdma.h>

#include "region.h"

TRACE_DEFINE_ENUM(PBR_MR_PAGES);
TRACE_DEFINE_ENUM(PBR_MR_USER);
TRACE_DEFINE_ENUM(PBR_MR_SEGMENTS);
TRACE_DEFINE_ENUM(PBR_MR_WINDOW);
TRACE_DEFINE_ENUM(PBR_MR_FAST);
TRACE_DEFINE_ENUM(PBR_MR_DMA);

#define pbr_show_kind(kind)                                                                \
	__print_symbolic(kind, { PBR_MR_PAGES, "memory" }, { PBR_MR_SEGMENTS, "dma-buf" }, \
			 { PBR_MR_WINDOW, "window" }, { PBR_MR_FAST, "fast" },             \
			 { PBR_MR_DMA, "all" }, { PBR_MR_USER, "memory-on-demand" })

TRACE_DEFINE_ENUM(PBR_NOT_REFUSED);
TRACE_DEFINE_ENUM(PBR_NO_REGION);
TRACE_DEFINE_ENUM(PBR_BLOCKED);
TRACE_DEFINE_ENUM(PBR_STALE_KEY);
TRACE_DEFINE_ENUM(PBR_OTHER_PD);
TRACE_DEFINE_ENUM(PBR_NO_ACCESS);
TRACE_DEFINE_ENUM(PBR_OUTSIDE);
TRACE_DEFINE_ENUM(PBR_WINDOW_UNUSABLE);
TRACE_DEFINE_ENUM(PBR_NOT_ADDRESSABLE);
TRACE_DEFINE_ENUM(PBR_KERNEL_KEY);
TRACE_DEFINE_ENUM(PBR_FAULT_FAILED);

#define pbr_show_refusal(refusal)                                                                 \
	__print_symbolic(refusal, { PBR_NOT_REFUSED, "none" }, { PBR_NO_REGION, "no-region" },    \
			 { PBR_BLOCKED, "revoked-or-changing" }, { PBR_STALE_KEY, "stale-key" },  \
			 { PBR_OTHER_PD, "other-pd" }, { PBR_NO_ACCESS, "no-access" },            \
			 { PBR_OUTSIDE, "outside" }, { PBR_WINDOW_UNUSABLE, "window-unusable" },  \
			 { PBR_NOT_ADDRESSABLE, "not-mapped" }, { PBR_KERNEL_KEY, "kernel-key" }, \
			 { PBR_FAULT_FAILED, "fault-failed" })

TRACE_DEFINE_ENUM(IB_QPS_RESET);
TRACE_DEFINE_ENUM(IB_QPS_INIT);
TRACE_DEFINE_ENUM(IB_QPS_RTR);
TRACE_DEFINE_ENUM(IB_QPS_RTS);
TRACE_DEFINE_ENUM(IB_QPS_SQD);
TRACE_DEFINE_ENUM(IB_QPS_SQE);
TRACE_DEFINE_ENUM(IB_QPS_ERR);

#define pbr_show_state(state)                                                                 \
	__print_symbolic(state, { IB_QPS_RESET, "RESET" }, { IB_QPS_INIT, "INIT" },           \
			 { IB_QPS_RTR, "RTR" }, { IB_QPS_RTS, "RTS" }, { IB_QPS_SQD, "SQD" }, \
			 { IB_QPS_SQE, "SQE" }, { IB_QPS_ERR, "ERR" })

TRACE_EVENT(rdma_mr_register, TP_PROTO(const struct pbr_mr *mr), TP_ARGS(mr),
	    TP_STRUCT__entry(__string(dev, dev_name(&mr->pd->device->dev)) __field(u32, key)
				     __field(u32, kind) __field(u64, iova) __field(u64, length)
					     __field(int, access)),
	    TP_fast_assign(__assign_str(dev); __entry->key = mr->key; __entry->kind = mr->kind;
			   __entry->iova = mr->iova; __entry->length = mr->length;
			   __entry->access = mr->access;),
	    TP_printk("dev=%s key=%#x kind=%s iova=%#llx length=%llu access=%#x", __get_str(dev),
		      __entry->key, pbr_show_kind(__entry->kind), __entry->iova, __entry->length,
		      __entry->access));

/* @wait_ns: how long the caller waited for the tasks inside the region */
DECLARE_EVENT_CLASS(rdma_mr_end, TP_PROTO(const struct pbr_mr *mr, u64 wait_ns),
		    TP_ARGS(mr, wait_ns),
		    TP_STRUCT__entry(__string(dev, dev_name(&mr->pd->device->dev)) __field(u32, key)
					     __field(u32, kind) __field(u64, iova)
						     __field(u64, length) __field(u64, wait_ns)),
		    TP_fast_assign(__assign_str(dev); __entry->key = mr->key;
				   __entry->kind = mr->kind; __entry->iova = mr->iova;
				   __entry->length = mr->length; __entry->wait_ns = wait_ns;),
		    TP_printk("dev=%s key=%#x kind=%s iova=%#llx length=%llu wait_ns=%llu",
			      __get_str(dev), __entry->key, pbr_show_kind(__entry->kind),
			      __entry->iova, __entry->length, __entry->wait_ns));

/* The exporter revoked the memory. The region has been blocked and unmapped. */
DEFINE_EVENT(rdma_mr_end, rdma_mr_revoke, TP_PROTO(const struct pbr_mr *mr, u64 wait_ns),
	     TP_ARGS(mr, wait_ns));

/* The exporter moves or revokes the memory of an on-demand region; the next access faults. */
DEFINE_EVENT(rdma_mr_end, rdma_mr_unmap, TP_PROTO(const struct pbr_mr *mr, u64 wait_ns),
	     TP_ARGS(mr, wait_ns));

/* A work request invalidates a window, or a region for fast registration; it is blocked. */
DEFINE_EVENT(rdma_mr_end, rdma_mr_invalidate, TP_PROTO(const struct pbr_mr *mr, u64 wait_ns),
	     TP_ARGS(mr, wait_ns));

/* For a dma-buf, the time includes the unmapping. */
DEFINE_EVENT(rdma_mr_end, rdma_mr_deregister, TP_PROTO(const struct pbr_mr *mr, u64 wait_ns),
	     TP_ARGS(mr, wait_ns));

/* An access, or a prefetch, makes the memory of an on-demand region present; @ret: 0 or an errno */
TRACE_EVENT(rdma_mr_fault, TP_PROTO(const struct pbr_mr *mr, u64 addr, u64 length, int ret),
	    TP_ARGS(mr, addr, length, ret),
	    TP_STRUCT__entry(__string(dev, dev_name(&mr->pd->device->dev)) __field(u32, key)
				     __field(u32, kind) __field(u64, addr) __field(u64, length)
					     __field(int, ret)),
	    TP_fast_assign(__assign_str(dev); __entry->key = mr->key; __entry->kind = mr->kind;
			   __entry->addr = addr; __entry->length = length; __entry->ret = ret;),
	    TP_printk("dev=%s key=%#x kind=%s addr=%#llx length=%llu ret=%d", __get_str(dev),
		      __entry->key, pbr_show_kind(__entry->kind), __entry->addr, __entry->length,
		      __entry->ret));

/* @opcode: of a send, enum ib_uverbs_wr_opcode; of a receive, enum ib_wc_opcode */
TRACE_EVENT(rdma_wr_error,
	    TP_PROTO(const struct ib_qp *qp, bool receive, u64 wr_id, u32 opcode, u32 status,
		     u32 refusal, u32 key),
	    TP_ARGS(qp, receive, wr_id, opcode, status, refusal, key),
	    TP_STRUCT__entry(__string(dev, dev_name(&qp->device->dev)) __field(u32, qpn)
				     __field(bool, receive) __field(u64, wr_id) __field(u32, opcode)
					     __field(u32, status) __field(u32, refusal)
						     __field(u32, key)),
	    TP_fast_assign(__assign_str(dev); __entry->qpn = qp->qp_num; __entry->receive = receive;
			   __entry->wr_id = wr_id; __entry->opcode = opcode;
			   __entry->status = status; __entry->refusal = refusal;
			   __entry->key = key;),
	    TP_printk("dev=%s qpn=%u queue=%s wr_id=%#llx opcode=%u status=%s reason=%s key=%#x",
		      __get_str(dev), __entry->qpn, __entry->receive ? "receive" : "send",
		      __entry->wr_id, __entry->opcode, rdma_show_wc_status(__entry->status),
		      pbr_show_refusal(__entry->refusal), __entry->key));

/* @requested: by modify or destroy; otherwise an error caused it */
TRACE_EVENT(rdma_qp_state, TP_PROTO(const struct ib_qp *qp, u32 from, u32 to, bool requested),
	    TP_ARGS(qp, from, to, requested),
	    TP_STRUCT__entry(__string(dev, dev_name(&qp->device->dev)) __field(u32, qpn)
				     __field(u32, type) __field(u32, from) __field(u32, to)
					     __field(bool, requested)),
	    TP_fast_assign(__assign_str(dev); __entry->qpn = qp->qp_num;
			   __entry->type = qp->qp_type; __entry->from = from; __entry->to = to;
			   __entry->requested = requested;),
	    TP_printk("dev=%s qpn=%u type=%u from=%s to=%s requested=%d", __get_str(dev),
		      __entry->qpn, __entry->type, pbr_show_state(__entry->from),
		      pbr_show_state(__entry->to), __entry->requested));

#endif

#undef TRACE_INCLUDE_PATH
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_PATH .
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
