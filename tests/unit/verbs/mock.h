/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The files of the program unit-verbs: a mock of what the verbs library uses, and the tests, which
 * each file adds to a test case. setup() resets the mock.
 */
#ifndef MOCK_H
#define MOCK_H

#include <check.h>

#include "../../../lib/internal.h"
#include "../../../rdma/verbs/internal.h"

#define PAGE 4096ul
#define RW   (IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ)

/* ---- a device ---- */

extern struct ibv_device device;
extern struct ibv_context *context;
extern struct ibv_pd pd;
extern struct ibv_pd *the_pd;

extern int reg_errno;	/* errno of registration; 0: it succeeds */
extern bool no_dmabufs; /* the provider lacks the call */
extern int dereg_errno;
extern bool odp;
extern int last_access;
extern enum pb_model probed_model;
extern unsigned int registered, registrations;
extern uint32_t next_key;

/* ---- peerbar's own device, and the page ---- */

extern bool own;
extern int own_fd;
extern uint32_t own_keys[8];
extern unsigned int nr_own_keys;
extern uint32_t own_revoked; /* the lkey of the region that it reports as revoked */
extern bool own_tells;	     /* it can be queried */
extern int own_error;
extern uint64_t the_page;
extern bool has_page;

/* ---- buffers ---- */

extern struct pb_buffer_info infos[4]; /* the kernel's answers */
extern struct pb_dmabuf dmabufs[4];
extern struct pb_buffer buffers[4];
extern struct pb_buffer *const buffer;
extern unsigned int queries;

extern int events_errno; /* errno of opening the module's events */
extern struct pb_event events[8];
extern unsigned int nr_events;
extern int events_fd;

void setup(void);
void teardown(void);

/* Revoke a buffer, and count that in the page. If @back, restore it. */
void take_away(unsigned int i, bool back);
/* Make it another exporter's, unknown to the module. */
void foreign(unsigned int i, enum pb_model model);

/* ---- tests ---- */

#define reg(flags, access, at, n, va) \
	pbv_reg_buffer(the_pd, buffer, at, n, va, access, flags, &mr, &err)

void add_address_tests(TCase *t);
void add_cache_tests(TCase *t);
void add_hit_tests(TCase *t);
void add_region_tests(TCase *t);
void add_watch_tests(TCase *t);

#endif
