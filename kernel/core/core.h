/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Interfaces between the files of the core, lowest layer first: a file uses those of the files
 * before its own, and none of those after it. peerbar_kapi.h declares the functions for other
 * modules.
 */
#ifndef _PEERBAR_CORE_H
#define _PEERBAR_CORE_H

#include "peerbar_kapi.h"

struct device;
struct file;
struct file_operations;
struct genl_family;
struct net;
struct seq_buf;
struct sk_buff;

/* trace.c: the trace events of trace.h */

/* account.c: limits of the current process's user */
struct peerbar_user *peerbar_user_charge(unsigned int nr_ranges);
void peerbar_user_uncharge(struct peerbar_user *user, unsigned int nr_ranges);

/* ranges.c: the range at an offset; reservation lock held */
const struct peerbar_range *peerbar_find_range(struct peerbar_buffer *buf, u64 offset);
bool peerbar_find_pfn(struct peerbar_buffer *buf, u64 offset, unsigned int order,
		      unsigned long *pfn);

/* revocation-page.c */
int peerbar_revocation_page_mmap(struct file *file, struct vm_area_struct *vma);
int peerbar_revocation_page_init(void);
void peerbar_revocation_page_exit(void);

/* device.c */
int peerbar_device_register(const struct file_operations *fops);
void peerbar_device_unregister(void);
/* the device that model probes attach with */
struct device *peerbar_probe_device(void);

/**
 * struct peerbar_summary - attributes of a buffer in every message
 * @exporter: module
 * @device: NULL if the buffer has none
 * @label: of the buffer
 */
struct peerbar_summary {
	u64 id;
	u64 size;
	u32 model;
	u32 state;
	u32 memattr;
	u32 nr_ranges;
	const char *exporter;
	const char *device;
	const char *label;
};

/*
 * events.c: the network namespace of buffers that the current process creates, with a reference.
 * peerbar_ns_put() accepts NULL.
 */
struct peerbar_ns *peerbar_ns_get_current(void);
void peerbar_ns_put(struct peerbar_ns *ns);
struct peerbar_ns *peerbar_ns_of(struct net *net);
struct peerbar_summary peerbar_summarize(struct peerbar_buffer *buf, enum peerbar_state state);
int peerbar_put_summary(struct sk_buff *skb, const struct peerbar_summary *s);
void peerbar_event(struct peerbar_buffer *buf, enum peerbar_cmd cmd, enum peerbar_state state);
int peerbar_events_init(const struct genl_family *family);
void peerbar_events_flush(void);
void peerbar_events_exit(void);

/**
 * struct peerbar_list - the importers and pending fences of a buffer, at one time
 * @state: the state, as it is: not settled
 * @nr_importers: number of attachments
 * @filled_importers: number of elements of @importers
 * @nr_fences: number of pending fences
 * @filled_fences: number of elements of @fences
 * @revoked_ns: as in struct peerbar_importers
 * @now_ns: the same
 */
struct peerbar_list {
	enum peerbar_state state;
	u32 nr_importers;
	u32 filled_importers;
	u32 nr_fences;
	u32 filled_fences;
	u64 revoked_ns;
	u64 now_ns;
	struct peerbar_importer *importers;
	struct peerbar_fence *fences;
};

/* importers.c */
void peerbar_importers_init(struct peerbar_buffer *buf);
void peerbar_importers_destroy(struct peerbar_buffer *buf);
/* Sets @attach->priv. Add it when attaching has succeeded; free it in any case, no lock held. */
int peerbar_importer_alloc(struct dma_buf_attachment *attach);
void peerbar_importer_add(struct peerbar_buffer *buf, struct dma_buf_attachment *attach);
void peerbar_importer_free(struct peerbar_buffer *buf, struct dma_buf_attachment *attach);
/* reservation lock held; before the buffer counts the change */
void peerbar_importer_mapped(struct dma_buf_attachment *attach);
void peerbar_importer_unmapped(struct dma_buf_attachment *attach);
void peerbar_importer_got_addresses(struct dma_buf_attachment *attach);
void peerbar_importers_invalidated(struct peerbar_buffer *buf);
/* Copy the name of a pending fence's driver, "" if none is pending; no lock needed. */
void peerbar_get_fence_driver(struct peerbar_buffer *buf, char *name, size_t size);
/* Copy the name of the device that was the last to unmap; no lock held. */
void peerbar_get_last_unmapped(struct peerbar_buffer *buf, char *name, size_t size);
/* no lock held */
int peerbar_list_importers(struct peerbar_buffer *buf, u32 max_importers, u32 max_fences,
			   struct peerbar_list *list);
void peerbar_list_free(struct peerbar_list *list);
void peerbar_print_importers(struct peerbar_buffer *buf, struct seq_buf *text);

/* state.c */
const char *peerbar_state_name(struct peerbar_buffer *buf);
void peerbar_buffer_init_state(struct peerbar_buffer *buf);
/*
 * peerbar_buffer_settle() without waiting for the reservation lock: while another task holds it,
 * and while the exporter must prepare the memory, returns the state as it is.
 */
enum peerbar_state peerbar_buffer_try_settle(struct peerbar_buffer *buf);
/* peerbar_buffer_mark_dead() with the reason for trace events */
void peerbar_set_dead(struct peerbar_buffer *buf, const char *reason);
/* Zap the mappings of all processes. The caller must prevent faults that map the buffer again. */
void peerbar_buffer_zap(struct peerbar_buffer *buf);
int peerbar_state_init(void);
void peerbar_state_exit(void);

/* dma-map.c; as map_dma_buf of struct dma_buf_ops */
struct sg_table *peerbar_map_pages(struct peerbar_buffer *buf, struct dma_buf_attachment *attach,
				   enum dma_data_direction dir);
void peerbar_unmap_pages(struct dma_buf_attachment *attach, struct sg_table *sgt,
			 enum dma_data_direction dir);

/* mmap.c */
int peerbar_dma_buf_mmap(struct dma_buf *dmabuf, struct vm_area_struct *vma);

/* buffer.c: look up a buffer; the caller drops the reference with peerbar_buffer_put() */
struct peerbar_buffer *peerbar_buffer_find(u64 id);
struct peerbar_buffer *peerbar_buffer_next(u64 after);

/**
 * enum peerbar_probing - what to attach to a dma-buf for, if that might move its memory
 * @PEERBAR_PROBE_NOTHING: don't attach
 * @PEERBAR_PROBE_MODEL: if the model is not known otherwise
 * @PEERBAR_PROBE_ALL: if the model or the state is not known otherwise
 */
enum peerbar_probing { PEERBAR_PROBE_NOTHING, PEERBAR_PROBE_MODEL, PEERBAR_PROBE_ALL };

/* model.c: what another exporter declares, and what is derived or known by its name */
void peerbar_find_facts(struct dma_buf *dmabuf, enum peerbar_probing probing,
			struct peerbar_facts *facts);

/* ttm.c: where a dma-buf of a GPU driver is, if that is known; no lock held. 0 or -EINTR */
int peerbar_ttm_locate(struct dma_buf *dmabuf, struct peerbar_facts *facts);

/*
 * describe.c: the facts about a buffer, its state as it is; the reservation lock or importers_lock
 * held
 */
void peerbar_buffer_describe_locked(struct peerbar_buffer *buf, struct peerbar_facts *facts);

/* chunks.c, cookie.c: only functions for other modules */

/* netlink.c */
int peerbar_netlink_init(void);
void peerbar_netlink_exit(void);

/* ioctl.c */
extern const struct file_operations peerbar_fops;

#endif
