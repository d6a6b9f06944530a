/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Trace events of buffers: events/peerbar/ of tracefs. Only for the files of the core: other
 * modules do not include this header.
 *
 * Each event has the buffer's number (@id, as in netlink) and the exporter's name for it (@name).
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM peerbar

#if !defined(_PEERBAR_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _PEERBAR_TRACE_H

#include <linux/dma-buf.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/timekeeping.h>
#include <linux/tracepoint.h>

#include "core.h"

TRACE_DEFINE_ENUM(PEERBAR_STATE_UNKNOWN);
TRACE_DEFINE_ENUM(PEERBAR_STATE_LIVE);
TRACE_DEFINE_ENUM(PEERBAR_STATE_REVOKED);
TRACE_DEFINE_ENUM(PEERBAR_STATE_DEAD);

#define peerbar_show_state(state)                                                                  \
	__print_symbolic(state, { PEERBAR_STATE_UNKNOWN, "NONE" }, { PEERBAR_STATE_LIVE, "LIVE" }, \
			 { PEERBAR_STATE_REVOKED, "REVOKED" }, { PEERBAR_STATE_DEAD, "DEAD" })

/*
 * The state changed. @old is UNKNOWN, shown as NONE, when the buffer is created. @reason:
 *
 * created	by its exporter
 * revoked	by its exporter
 * detected	an access found the memory unreachable
 * restored	an access found the memory reachable
 * killed	by its exporter: REVOKE, close, unbind
 * released	the last reference is gone
 */
TRACE_EVENT(peerbar_state,
	    TP_PROTO(const struct peerbar_buffer *buf, enum peerbar_state old,
		     enum peerbar_state new, const char *reason),
	    TP_ARGS(buf, old, new, reason),
	    TP_STRUCT__entry(__field(u64, id) __field(u32, old) __field(u32, new)
				     __string(name, buf->label) __string(reason, reason)),
	    TP_fast_assign(__entry->id = buf->id; __entry->old = old; __entry->new = new;
			   __assign_str(name); __assign_str(reason);),
	    TP_printk("id=%llu name=%s old=%s new=%s reason=%s", __entry->id, __get_str(name),
		      peerbar_show_state(__entry->old), peerbar_show_state(__entry->new),
		      __get_str(reason)));

/* An importer attaches, or fails to: @ret is an errno then. */
TRACE_EVENT(peerbar_attach,
	    TP_PROTO(const struct peerbar_buffer *buf, const struct dma_buf_attachment *attach,
		     int ret),
	    TP_ARGS(buf, attach, ret),
	    TP_STRUCT__entry(__field(u64, id) __field(int, ret) __string(name, buf->label)
				     __string(importer, dev_name(attach->dev))),
	    TP_fast_assign(__entry->id = buf->id; __entry->ret = ret; __assign_str(name);
			   __assign_str(importer);),
	    TP_printk("id=%llu name=%s importer=%s ret=%d", __entry->id, __get_str(name),
		      __get_str(importer), __entry->ret));

/* An importer detached. @attached_ns: for how long it was attached */
TRACE_EVENT(peerbar_detach,
	    TP_PROTO(const struct peerbar_buffer *buf, struct dma_buf_attachment *attach),
	    TP_ARGS(buf, attach),
	    TP_STRUCT__entry(__field(u64, id) __field(u64, attached_ns) __string(name, buf->label)
				     __string(importer, dev_name(attach->dev))),
	    TP_fast_assign(__entry->id = buf->id; __entry->attached_ns = ktime_get_boottime_ns() -
				   peerbar_attachment_of(attach)->attached_ns;
			   __assign_str(name); __assign_str(importer);),
	    TP_printk("id=%llu name=%s importer=%s attached_ns=%llu", __entry->id, __get_str(name),
		      __get_str(importer), __entry->attached_ns));

/* An importer maps for DMA, or fails to. @maps: number of the buffer's mappings afterwards */
TRACE_EVENT(peerbar_map,
	    TP_PROTO(const struct peerbar_buffer *buf, const struct dma_buf_attachment *attach,
		     enum dma_data_direction dir, int ret),
	    TP_ARGS(buf, attach, dir, ret),
	    TP_STRUCT__entry(__field(u64, id) __field(u64, bytes) __field(u32, maps)
				     __field(u32, dir) __field(int, ret) __string(name, buf->label)
					     __string(importer, dev_name(attach->dev))),
	    TP_fast_assign(__entry->id = buf->id; __entry->bytes = buf->dmabuf->size;
			   __entry->maps = buf->dma_maps; __entry->dir = dir; __entry->ret = ret;
			   __assign_str(name); __assign_str(importer);),
	    TP_printk("id=%llu name=%s importer=%s bytes=%llu dir=%u maps=%u ret=%d", __entry->id,
		      __get_str(name), __get_str(importer), __entry->bytes, __entry->dir,
		      __entry->maps, __entry->ret));

/* An importer unmapped. @maps: as above; 0 in a state other than LIVE ends a revoke's wait */
TRACE_EVENT(peerbar_unmap,
	    TP_PROTO(const struct peerbar_buffer *buf, const struct dma_buf_attachment *attach),
	    TP_ARGS(buf, attach),
	    TP_STRUCT__entry(__field(u64, id) __field(u64, bytes) __field(u32, maps)
				     __field(u32, state) __string(name, buf->label)
					     __string(importer, dev_name(attach->dev))),
	    TP_fast_assign(__entry->id = buf->id; __entry->bytes = buf->dmabuf->size;
			   __entry->maps = buf->dma_maps; __entry->state = READ_ONCE(buf->state);
			   __assign_str(name); __assign_str(importer);),
	    TP_printk("id=%llu name=%s importer=%s bytes=%llu maps=%u state=%s", __entry->id,
		      __get_str(name), __get_str(importer), __entry->bytes, __entry->maps,
		      peerbar_show_state(__entry->state)));

/* An importer without DMA mappings got physical addresses, as iommufd does to map. */
TRACE_EVENT(peerbar_addresses,
	    TP_PROTO(const struct peerbar_buffer *buf, const struct dma_buf_attachment *attach),
	    TP_ARGS(buf, attach),
	    TP_STRUCT__entry(__field(u64, id) __field(u64, bytes) __string(name, buf->label)
				     __string(importer, dev_name(attach->dev))),
	    TP_fast_assign(__entry->id = buf->id; __entry->bytes = buf->dmabuf->size;
			   __assign_str(name); __assign_str(importer);),
	    TP_printk("id=%llu name=%s importer=%s bytes=%llu", __entry->id, __get_str(name),
		      __get_str(importer), __entry->bytes));

/*
 * A page fault of a process's mapping. @address: the process's; @offset: of its page in the buffer;
 * @order: of the entry that was tried; @result: vm_fault_t. The flags are numbers, which user space
 * can parse; trace.c checks them.
 */
TRACE_EVENT(peerbar_fault,
	    TP_PROTO(const struct peerbar_buffer *buf, const struct vm_fault *vmf,
		     unsigned int order, vm_fault_t result),
	    TP_ARGS(buf, vmf, order, result),
	    TP_STRUCT__entry(__field(u64, id) __field(u64, offset) __field(unsigned long, address)
				     __field(u32, order) __field(u32, result)
					     __string(name, buf->label)),
	    TP_fast_assign(__entry->id = buf->id;
			   __entry->offset = (u64)(linear_page_index(vmf->vma, vmf->address) -
						   buf->pgoff_base)
				   << PAGE_SHIFT;
			   __entry->address = vmf->address; __entry->order = order;
			   __entry->result = (__force u32)result; __assign_str(name);),
	    TP_printk("id=%llu name=%s address=0x%lx offset=0x%llx order=%u result=%s", __entry->id,
		      __get_str(name), __entry->address, __entry->offset, __entry->order,
		      __print_flags(__entry->result, "|", { 0x001, "OOM" }, { 0x002, "SIGBUS" },
				    { 0x100, "NOPAGE" }, { 0x400, "RETRY" },
				    { 0x800, "FALLBACK" })));

/* A task begins to wait for importers. @maps: DMA mappings; @fences: whether fences are pending */
TRACE_EVENT(peerbar_drain_begin, TP_PROTO(const struct peerbar_buffer *buf, bool fences),
	    TP_ARGS(buf, fences),
	    TP_STRUCT__entry(__field(u64, id) __field(u32, maps) __field(bool, fences)
				     __string(name, buf->label)),
	    TP_fast_assign(__entry->id = buf->id; __entry->maps = READ_ONCE(buf->dma_maps);
			   __entry->fences = fences; __assign_str(name);),
	    TP_printk("id=%llu name=%s maps=%u fences=%d", __entry->id, __get_str(name),
		      __entry->maps, __entry->fences));

/*
 * The wait ended. @ret: 0, or the errno that ended it; @duration_ns: of the wait; @waited: "fence",
 * "unmap" or "nothing": what it waited for last; @importer: the device that unmapped last, or the
 * driver of a fence that was pending at the beginning
 */
TRACE_EVENT(peerbar_drain_end,
	    TP_PROTO(const struct peerbar_buffer *buf, u64 duration_ns, const char *waited,
		     const char *importer, int ret),
	    TP_ARGS(buf, duration_ns, waited, importer, ret),
	    TP_STRUCT__entry(__field(u64, id) __field(u64, duration_ns) __field(int, ret)
				     __string(name, buf->label) __string(waited, waited)
					     __string(importer, importer)),
	    TP_fast_assign(__entry->id = buf->id; __entry->duration_ns = duration_ns;
			   __entry->ret = ret; __assign_str(name); __assign_str(waited);
			   __assign_str(importer);),
	    TP_printk("id=%llu name=%s duration_ns=%llu waited=%s importer=%s ret=%d", __entry->id,
		      __get_str(name), __entry->duration_ns, __get_str(waited), __get_str(importer),
		      __entry->ret));

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace

#include <trace/define_trace.h>
