/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of the core share with each other only. */
#ifndef _PEERBAR_CORE_H
#define _PEERBAR_CORE_H

#include "peerbar_kapi.h"

struct device;
struct workqueue_struct;

/* buffer.c: all buffers; what is found is to be given back with peerbar_buffer_put() */
struct peerbar_buffer *peerbar_buffer_find(u64 id);
struct peerbar_buffer *peerbar_buffer_next(u64 after);
/* Takes a buffer from all processes that map it. The caller has seen to it that no fault maps it again. */
void peerbar_buffer_zap(struct peerbar_buffer *buf);

/* account.c: what the user of the current process may have */
struct peerbar_user *peerbar_user_charge(unsigned int nr_ranges);
void peerbar_user_uncharge(struct peerbar_user *user, unsigned int nr_ranges);

/* mmap.c */
int peerbar_dma_buf_mmap(struct dma_buf *dmabuf, struct vm_area_struct *vma);

/* model.c: the range that holds an offset; reservation lock held */
const struct peerbar_range *peerbar_range_at(struct peerbar_buffer *buf, u64 offset);
bool peerbar_pfn_at(struct peerbar_buffer *buf, u64 offset, unsigned int order, unsigned long *pfn);

/* main.c: runs what a killer of buffers was interrupted in */
extern struct workqueue_struct *peerbar_wq;
/* the device that the model question attaches with */
struct device *peerbar_probe_device(void);

/* netlink.c: the network namespace of buffers that the current process makes, with a reference; NULL may be put */
struct peerbar_ns *peerbar_ns_get_current(void);
void peerbar_ns_put(struct peerbar_ns *ns);
void peerbar_event(struct peerbar_buffer *buf, enum peerbar_cmd cmd);
int peerbar_netlink_init(void);
void peerbar_netlink_exit(void);

#endif
