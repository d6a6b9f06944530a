// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The verbs library without a device. The mock replaces libibverbs, the kernel's answers about
 * buffers, and the page of revocations, to produce every errno and every order of events. The lab
 * tests real devices.
 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "mock.h"

/* ---- a device ---- */

struct ibv_device device = { .name = "mock0", .dev_name = "mock0" };
static struct verbs_context verbs;
struct ibv_context *context = &verbs.context;
struct ibv_pd pd;
struct ibv_pd *the_pd = &pd;

int reg_errno;	 /* errno of registration; 0: it succeeds */
bool no_dmabufs; /* the provider lacks the call */
int dereg_errno;
bool odp;
int last_access; /* of the last registration */
unsigned int registered, registrations;
uint32_t next_key = 0x100;

static int query_device_ex(struct ibv_context *c, const struct ibv_query_device_ex_input *input,
			   struct ibv_device_attr_ex *attr, size_t size)
{
	(void)c;
	(void)input;
	memset(attr, 0, size);
	attr->odp_caps.general_caps = odp ? IBV_ODP_SUPPORT : 0;
	return 0;
}

const char *ibv_get_device_name(struct ibv_device *d)
{
	return d->name;
}

struct ibv_pd *ibv_alloc_pd(struct ibv_context *c)
{
	struct ibv_pd *new = calloc(1, sizeof(*new));

	new->context = c;
	return new;
}

int ibv_dealloc_pd(struct ibv_pd *p)
{
	free(p);
	return 0;
}

/* Protects the state of calls that several threads may make. */
static pthread_mutex_t mock_lock = PTHREAD_MUTEX_INITIALIZER;

static struct ibv_mr *new_verbs(struct ibv_pd *p, size_t length)
{
	struct ibv_mr *mr = calloc(1, sizeof(*mr));

	pthread_mutex_lock(&mock_lock);
	mr->context = p->context;
	mr->pd = p;
	mr->length = length;
	mr->lkey = mr->rkey = next_key++;
	registered++;
	registrations++;
	pthread_mutex_unlock(&mock_lock);
	return mr;
}

struct ibv_mr *ibv_reg_dmabuf_mr(struct ibv_pd *p, uint64_t offset, size_t length, uint64_t iova,
				 int fd, int access)
{
	if (fd >= 0)
		last_access = access;
	if (no_dmabufs)
		errno = EOPNOTSUPP;
	else if (fd < 0)
		errno = EBADF;
	else if (reg_errno)
		errno = reg_errno;
	else if ((offset ^ iova) & (PAGE - 1))
		errno = EINVAL;
	else
		return new_verbs(p, length);
	return NULL;
}

struct ibv_mr *(ibv_reg_mr)(struct ibv_pd *p, void *address, size_t length, int access)
{
	(void)address;
	(void)access;
	if (reg_errno) {
		errno = reg_errno;
		return NULL;
	}
	return new_verbs(p, length);
}

struct ibv_mr *ibv_reg_mr_iova2(struct ibv_pd *p, void *address, size_t length, uint64_t iova,
				unsigned int access)
{
	(void)iova;
	return (ibv_reg_mr)(p, address, length, (int)access);
}

int ibv_dereg_mr(struct ibv_mr *mr)
{
	if (dereg_errno)
		return dereg_errno;
	pthread_mutex_lock(&mock_lock);
	registered--;
	pthread_mutex_unlock(&mock_lock);
	memset(mr, 0xdb, sizeof(*mr));
	free(mr);
	return 0;
}

/* Used by an inline function of <infiniband/verbs.h>. */
int ibv_query_device(struct ibv_context *c, struct ibv_device_attr *attr)
{
	(void)c;
	(void)attr;
	return EOPNOTSUPP;
}

/* ---- peerbar's own device, and the page ---- */

bool own;
int own_fd = -1;
uint32_t own_keys[8];
unsigned int nr_own_keys;
uint32_t own_revoked; /* the lkey of the region that it reports as revoked */
bool own_tells;	      /* it can be queried */
int own_error;

static int mock_revocation_fd(struct ibv_context *c)
{
	(void)c;
	return own_fd;
}

static int mock_next_revoked(struct ibv_context *c, uint32_t *lkey)
{
	int ret = own_error;

	(void)c;
	own_error = 0;
	if (ret || !nr_own_keys)
		return ret;
	*lkey = own_keys[--nr_own_keys];
	return 1;
}

static int mock_mr_revoked(struct ibv_mr *mr)
{
	return mr->lkey == own_revoked;
}

bool __wrap_pbv_direct_open(struct pbv_direct *direct, struct ibv_context *c);
bool __wrap_pbv_direct_open(struct pbv_direct *direct, struct ibv_context *c)
{
	(void)c;
	memset(direct, 0, sizeof(*direct));
	direct->revocation_fd = mock_revocation_fd;
	direct->next_revoked = mock_next_revoked;
	direct->mr_revoked = own_tells ? mock_mr_revoked : NULL;
	return own;
}

uint64_t the_page;
bool has_page;

const volatile uint64_t *__wrap_pbv_page_open(void);
const volatile uint64_t *__wrap_pbv_page_open(void)
{
	return has_page ? &the_page : NULL;
}

void __wrap_pbv_page_close(const volatile uint64_t *page);
void __wrap_pbv_page_close(const volatile uint64_t *page)
{
	(void)page;
}

/* ---- buffers ---- */

struct pb_buffer_info infos[4]; /* the kernel's answers */
struct pb_dmabuf dmabufs[4];
struct pb_buffer buffers[4];
struct pb_buffer *const buffer = &buffers[0];
unsigned int queries;
enum pb_model probed_model; /* what a probe of PB_UNKNOWN finds */

int __wrap_pb_buffer_query_sized(struct pb_buffer *b, struct pb_buffer_info *info, size_t size,
				 struct pb_error *e);
int __wrap_pb_buffer_query_sized(struct pb_buffer *b, struct pb_buffer_info *info, size_t size,
				 struct pb_error *e)
{
	(void)e;
	(void)size;
	__atomic_add_fetch(&queries, 1, __ATOMIC_RELAXED);
	*info = infos[b->dmabuf - dmabufs];
	return 0;
}

int __wrap_pb_buffer_probe_sized(struct pb_buffer *b, struct pb_buffer_info *info, size_t size,
				 struct pb_error *e);
int __wrap_pb_buffer_probe_sized(struct pb_buffer *b, struct pb_buffer_info *info, size_t size,
				 struct pb_error *e)
{
	int ret = __wrap_pb_buffer_query_sized(b, info, size, e);

	if (info->model == PB_UNKNOWN)
		info->model = probed_model;
	return ret;
}

int events_errno = ENOENT; /* errno of opening the module's events */
struct pb_event events[8];
unsigned int nr_events;
int events_fd = -1;

int __wrap_pb_watch_open(struct pb_watch **watch, struct pb_error *e);
int __wrap_pb_watch_open(struct pb_watch **watch, struct pb_error *e)
{
	if (events_errno)
		return pb_fail_errno(e, events_errno, "no watch");
	*watch = (void *)events;
	return 0;
}

int __wrap_pb_watch_fd(const struct pb_watch *watch);
int __wrap_pb_watch_fd(const struct pb_watch *watch)
{
	(void)watch;
	return events_fd;
}

int __wrap_pb_watch_next_sized(struct pb_watch *watch, struct pb_event *event, size_t size,
			       struct pb_error *e);
int __wrap_pb_watch_next_sized(struct pb_watch *watch, struct pb_event *event, size_t size,
			       struct pb_error *e)
{
	(void)watch;
	(void)size;
	(void)e;
	*event = nr_events ? events[--nr_events] : (struct pb_event){ .type = PB_EVENT_NONE };
	return 0;
}

void __wrap_pb_watch_close(struct pb_watch *watch);
void __wrap_pb_watch_close(struct pb_watch *watch)
{
	(void)watch;
}

void setup(void)
{
	unsigned int i;

	verbs.sz = sizeof(verbs);
	verbs.query_device_ex = query_device_ex;
	context->device = &device;
	context->abi_compat = __VERBS_ABI_IS_EXTENDED;
	pd.context = context;
	reg_errno = dereg_errno = own_error = 0;
	no_dmabufs = odp = own = own_tells = has_page = false;
	registered = registrations = queries = nr_events = nr_own_keys = own_revoked = 0;
	events_errno = ENOENT;
	events_fd = own_fd = -1;
	the_page = 7;
	for (i = 0; i < 4; i++) {
		atomic_init(&dmabufs[i].refs, 1);
		dmabufs[i].fd = 0;
		atomic_init(&dmabufs[i].id, 100 + i);
		dmabufs[i].info.size = 64 * PAGE;
		buffers[i].dmabuf = &dmabufs[i];
		infos[i] = (struct pb_buffer_info){ .size = 64 * PAGE,
						    .id = 100 + i,
						    .model = PB_REVOCABLE,
						    .exporter = "mock",
						    .managed = true,
						    .counted = true,
						    .state = PB_BUFFER_LIVE,
						    .list_id = 10 + i };
	}
}

void teardown(void)
{
	unsigned int i;

	ck_assert_uint_eq(registered, 0);
	for (i = 0; i < 4; i++)
		ck_assert_msg(atomic_load(&dmabufs[i].refs) == 1,
			      "buffer %u has %u references left", i,
			      atomic_load(&dmabufs[i].refs) - 1);
}

/* Revoke a buffer, and count that in the page. If @back, restore it. */
void take_away(unsigned int i, bool back)
{
	infos[i].revocations++;
	infos[i].state = back ? PB_BUFFER_LIVE : PB_BUFFER_REVOKED;
	__atomic_add_fetch(&the_page, 1, __ATOMIC_RELEASE);
}

/* Make it another exporter's, unknown to the module. */
void foreign(unsigned int i, enum pb_model model)
{
	infos[i].managed = infos[i].counted = false;
	infos[i].state = PB_BUFFER_UNKNOWN;
	infos[i].model = model;
}
