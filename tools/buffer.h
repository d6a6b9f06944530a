/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Buffers of commands: those that a command exports, takes, describes, and passes on. */
#ifndef PBT_BUFFER_H
#define PBT_BUFFER_H

#include "tool.h"

/* ---- buffer.c ---- */

struct opened {
	struct pb_iommu *iommu;
	struct pb_device **devices;
	unsigned int nr_devices;
};

/* @room: the capacity, in devices. Returns an exit status. */
int open_context(struct opened *s, unsigned int room);
/* Open a device, or find it if it is open. Returns an exit status. */
int open_device(struct opened *s, const char *bdf, struct pb_device **device);
void close_devices(struct opened *s);

/* The operands BDF BAR [OFFSET:LENGTH...]. */
struct source {
	const char *bdf;
	unsigned int bar;
	struct pb_range *ranges;
	unsigned int nr_ranges; /* 0 for the whole BAR */
};

/* Parse the operands; free @x->ranges afterwards. Returns an exit status. */
int parse_source(const struct args *args, struct source *x);
/* *@from receives the device, once it is open. Returns an exit status. */
int export_buffer(struct opened *s, struct source *x, struct pb_device **from,
		  struct pb_buffer **buffer);

/* Returns an exit status. */
int set_variable(const char *name, bool hex, uint64_t number);
/*
 * Run the command with the buffer's descriptor in PEERBAR_FD. @device is the buffer's; NULL if
 * another process exported it, and then SIGUSR1 is passed to the command. Returns an exit status.
 */
int run_with_buffer(char *const command[], struct pb_device *device, struct pb_buffer *buffer);

/* ---- describe.c ---- */

/*
 * *@description receives an object. @fd is the descriptor's number in it, unless negative. @probe
 * allows that the memory moves. Returns an exit status.
 */
int describe_buffer(struct pb_buffer *buffer, int fd, bool probe, struct pb_buffer_info *info,
		    struct json_object **description);

#endif
