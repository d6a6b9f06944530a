/* SPDX-License-Identifier: GPL-2.0 */
/* Interfaces between the files of the core. */
#ifndef _PEERBAR_CORE_H
#define _PEERBAR_CORE_H

#include "peerbar_kapi.h"

struct device;
struct workqueue_struct;

/* buffer.c: look up a buffer; the caller drops the reference with peerbar_buffer_put() */
struct peerbar_buffer *peerbar_buffer_find(u64 id);
struct peerbar_buffer *peerbar_buffer_next(u64 after);
/* Zap the mappings of all processes. The caller must prevent faults that map the buffer again. */
void peerbar_buffer_zap(struct peerbar_buffer *buf);

/* account.c: limits of the current process's user */
struct peerbar_user *peerbar_user_charge(unsigned int nr_ranges);
void peerbar_user_uncharge(struct peerbar_user *user, unsigned int nr_ranges);

/* mmap.c */
int peerbar_dma_buf_mmap(struct dma_buf *dmabuf, struct vm_area_struct *vma);

/* model.c: the range at an offset; reservation lock held */
const struct peerbar_range *peerbar_range_at(struct peerbar_buffer *buf, u64 offset);
bool peerbar_pfn_at(struct peerbar_buffer *buf, u64 offset, unsigned int order, unsigned long *pfn);

/* main.c: finishes the stop of buffers whose killer was interrupted */
extern struct workqueue_struct *peerbar_wq;
/* the device that model probes attach with */
struct device *peerbar_probe_device(void);

/*
 * netlink.c: the network namespace of buffers that the current process creates, with a reference.
 * peerbar_ns_put() accepts NULL.
 */
struct peerbar_ns *peerbar_ns_get_current(void);
void peerbar_ns_put(struct peerbar_ns *ns);
void peerbar_event(struct peerbar_buffer *buf, enum peerbar_cmd cmd);
int peerbar_netlink_init(void);
void peerbar_netlink_exit(void);

#endif
