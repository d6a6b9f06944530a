// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The verbs library without a device. The test replaces libibverbs, the kernel's answers about
 * buffers, and the page of revocations, to produce every errno and every order of events. The lab
 * tests real devices.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../lib/internal.h"
#include "../../rdma/verbs/internal.h"
#include "../sentence.h"

#define PAGE 4096ul
#define RW   (IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ)

static struct pb_error err;

/* ---- a device ---- */

static struct ibv_device device = { .name = "mock0", .dev_name = "mock0" };
static struct verbs_context verbs;
static struct ibv_context *context = &verbs.context;
static struct ibv_pd pd;
static struct ibv_pd *the_pd = &pd;

static int reg_errno;	/* errno of registration; 0: it succeeds */
static bool no_dmabufs; /* the provider lacks the call */
static int dereg_errno;
static bool odp;
static unsigned int registered, registrations;
static uint32_t next_key = 0x100;

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
	(void)access;
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

static bool own;
static int own_fd = -1;
static uint32_t own_keys[8];
static unsigned int nr_own_keys;
static uint32_t own_revoked; /* the lkey of the region that it reports as revoked */
static bool own_tells;	     /* it can be queried */
static int own_error;

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

static uint64_t the_page;
static bool has_page;

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

static struct pb_buffer_info infos[4]; /* the kernel's answers */
static struct pb_dmabuf dmabufs[4];
static struct pb_buffer buffers[4];
static struct pb_buffer *const buffer = &buffers[0];
static unsigned int queries;

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

static int events_errno = ENOENT; /* errno of opening the module's events */
static struct pb_event events[8];
static unsigned int nr_events;
static int events_fd = -1;

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

static void setup(void)
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

static void teardown(void)
{
	unsigned int i;

	ck_assert_uint_eq(registered, 0);
	for (i = 0; i < 4; i++)
		ck_assert_msg(atomic_load(&dmabufs[i].refs) == 1,
			      "buffer %u has %u references left", i,
			      atomic_load(&dmabufs[i].refs) - 1);
}

/* Revoke a buffer, and count that in the page. If @back, restore it. */
static void take_away(unsigned int i, bool back)
{
	infos[i].revocations++;
	infos[i].state = back ? PB_BUFFER_LIVE : PB_BUFFER_REVOKED;
	__atomic_add_fetch(&the_page, 1, __ATOMIC_RELEASE);
}

/* Make it another exporter's, unknown to the module. */
static void foreign(unsigned int i, enum pb_model model)
{
	infos[i].managed = infos[i].counted = false;
	infos[i].state = PB_BUFFER_UNKNOWN;
	infos[i].model = model;
}

/* ---- regions ---- */

#define reg(flags, access, at, n, va) \
	pbv_reg_buffer(the_pd, buffer, at, n, va, access, flags, &mr, &err)

START_TEST(a_region)
{
	struct pbv_mr *mr;
	int data;

	ok(reg(0, RW, PAGE + 5, 3 * PAGE, 0x700000005));
	ck_assert_uint_eq(pbv_mr_offset(mr), PAGE + 5);
	ck_assert_uint_eq(pbv_mr_length(mr), 3 * PAGE);
	ck_assert_uint_eq(pbv_mr_iova(mr), 0x700000005);
	ck_assert_uint_eq(pb_buffer_id(pbv_mr_buffer(mr)), 100);
	ck_assert_ptr_nonnull(pbv_mr_verbs(mr));
	ck_assert_ptr_null(pbv_mr_data(mr));
	pbv_mr_set_data(mr, &data);
	ck_assert_ptr_eq(pbv_mr_data(mr), &data);
	ck_assert_int_eq(pbv_mr_state(mr), PBV_LIVE);
	dereg_errno = EBUSY;
	refused(pbv_dereg(mr, &err), EBUSY, "memory window");
	dereg_errno = EIO;
	refused(pbv_dereg(mr, &err), EIO, "ibv_dereg_mr");
	dereg_errno = 0;
	ok(pbv_dereg(mr, &err));
	ok(pbv_dereg(NULL, &err));
	/* The whole buffer, and its last byte. */
	ok(reg(0, 0, 0, 64 * PAGE, 0));
	ok(pbv_dereg(mr, &err));
	ok(reg(0, RW, 64 * PAGE - 1, 1, PAGE - 1));
	ok(pbv_dereg(mr, &err));
}
END_TEST

START_TEST(wrong_arguments)
{
	struct pbv_mr *mr;

	refused(reg(0, RW, 0, 0, 0), EINVAL, "length must not be 0");
	refused(reg(2, RW, 0, PAGE, 0), EINVAL, "flags 0x2");
	refused(reg(0, RW, 0, 64 * PAGE + 1, 0), ERANGE, "size is 0x40000");
	refused(reg(0, RW, 64 * PAGE, 1, 0), ERANGE, "size is 0x40000");
	refused(reg(0, RW, PAGE, UINT64_MAX, 0), ERANGE, "size is 0x40000");
	refused(reg(0, RW, UINT64_MAX, PAGE, PAGE - 1), ERANGE, "size is 0x40000");
	refused(reg(0, RW, 5, PAGE, 6), EINVAL, "offset, 0x5");
	refused(reg(0, RW, 0, 2 * PAGE, 0 - PAGE), EINVAL, "beyond 2^64");
	refused(reg(0, IBV_ACCESS_REMOTE_WRITE, 0, PAGE, 0), EINVAL, "IBV_ACCESS_LOCAL_WRITE");
	refused(reg(0, IBV_ACCESS_REMOTE_ATOMIC, 0, PAGE, 0), EINVAL, "IBV_ACCESS_LOCAL_WRITE");
	/* The error is optional. */
	ck_assert_int_eq(pbv_reg_buffer(the_pd, buffer, 0, 0, 0, RW, 0, &mr, NULL), -EINVAL);
	/* nothing came to the device */
	ck_assert_uint_eq(registrations + queries, 0);
}
END_TEST

START_TEST(models_that_are_refused)
{
	struct pbv_mr *mr;

	infos[0].model = PB_DYNAMIC;
	refused(reg(PBV_UNKNOWN_MODEL, RW, 0, PAGE, 0), EOPNOTSUPP,
		"DYNAMIC, so it may move at any time, and mock0 cannot "
		"follow");
	odp = true;
	ok(reg(0, RW, 0, PAGE, 0));
	ok(pbv_dereg(mr, &err));
	infos[0].model = PB_UNKNOWN;
	refused(reg(0, RW, 0, PAGE, 0), EOPNOTSUPP, "PBV_UNKNOWN_MODEL registers it anyway");
	ok(reg(PBV_UNKNOWN_MODEL, RW, 0, PAGE, 0));
	ok(pbv_dereg(mr, &err));
	ck_assert_uint_eq(registrations, 2);
}
END_TEST

START_TEST(every_errno_has_its_sentence)
{
	static const struct {
		int code, want;
		const char *words;
	} cases[] = {
		{ ENODEV, ENODEV, "the buffer is revoked" },
		{ EOPNOTSUPP, EOPNOTSUPP, "refuses the device" },
		{ ENOSYS, EOPNOTSUPP, "refuses the device" },
		{ EPROTONOSUPPORT, EOPNOTSUPP, "refuses the device" },
		{ EINVAL, EINVAL, "cannot reach" },
		{ EREMOTEIO, EREMOTEIO, "cannot reach" },
		{ ENOMEM, ENOMEM, "no room for one more region" },
		{ EBADF, EBADF, "dma-buf" },
		{ EIO, EIO, "Input/output error" },
		{ EPERM, EPERM, "ibv_reg_dmabuf_mr" },
	};
	struct pbv_mr *mr;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		reg_errno = cases[i].code;
		refused(reg(0, RW, 0, PAGE, 0), cases[i].want, cases[i].words);
	}
	no_dmabufs = true;
	refused(reg(0, RW, 0, PAGE, 0), EOPNOTSUPP, "cannot register dma-bufs");
	/* A buffer known to be revoked is not registered. */
	no_dmabufs = false;
	reg_errno = 0;
	infos[0].state = PB_BUFFER_DEAD;
	refused(reg(0, RW, 0, PAGE, 0), ENODEV, "revoked for good");
	infos[0].state = PB_BUFFER_REVOKED;
	refused(reg(0, RW, 0, PAGE, 0), ENODEV, "memory decoding");
	ck_assert_uint_eq(registrations, 0);
}
END_TEST

START_TEST(what_a_device_takes)
{
	unsigned int models;

	no_dmabufs = true;
	ok(pbv_models(context, &models, &err));
	ck_assert_uint_eq(models, 0);
	no_dmabufs = false;
	ok(pbv_models(context, &models, &err));
	ck_assert_uint_eq(models, PBV_TAKES(PB_PINNED) | PBV_MAY_TAKE(PB_REVOCABLE));
	own = true;
	ok(pbv_models(context, &models, &err));
	ck_assert_uint_eq(models, PBV_TAKES(PB_PINNED) | PBV_TAKES(PB_REVOCABLE));
	odp = true;
	own = false;
	ok(pbv_models(context, &models, &err));
	ck_assert_uint_eq(models,
			  PBV_TAKES(PB_PINNED) | PBV_TAKES(PB_REVOCABLE) | PBV_TAKES(PB_DYNAMIC));
}
END_TEST

START_TEST(states)
{
	struct pbv_mr *mr;

	/* Restoring the memory does not restore the region. */
	ok(reg(0, RW, 0, PAGE, 0));
	take_away(0, true);
	ck_assert_int_eq(pbv_mr_state(mr), PBV_REVOKED);
	ok(pbv_dereg(mr, &err));
	/* A region registered afterwards is live. */
	ok(reg(0, RW, 0, PAGE, 0));
	ck_assert_int_eq(pbv_mr_state(mr), PBV_LIVE);
	ok(pbv_dereg(mr, &err));
	/* Only peerbar's device reports revocations of another exporter's buffers. */
	foreign(0, PB_REVOCABLE);
	ok(reg(0, RW, 0, PAGE, 0));
	ck_assert_int_eq(pbv_mr_state(mr), PBV_UNKNOWN);
	own = true;
	ck_assert_int_eq(pbv_mr_state(mr), PBV_UNKNOWN);
	own_tells = true;
	ck_assert_int_eq(pbv_mr_state(mr), PBV_LIVE);
	own_revoked = pbv_mr_verbs(mr)->lkey;
	ck_assert_int_eq(pbv_mr_state(mr), PBV_REVOKED);
	ok(pbv_dereg(mr, &err));
	foreign(0, PB_PINNED);
	ok(reg(0, RW, 0, PAGE, 0));
	own = false;
	ck_assert_int_eq(pbv_mr_state(mr), PBV_LIVE);
	ok(pbv_dereg(mr, &err));
}
END_TEST

/* ---- watches ---- */

START_TEST(nobody_would_tell)
{
	struct pbv_watch *watch;
	struct pbv_mr *mr;

	refused(pbv_watch_open(context, &watch, &err), EOPNOTSUPP, "nothing would report");
	events_errno = EACCES;
	refused(pbv_watch_open(context, &watch, &err), EACCES, "no watch");
	events_errno = 0;
	events_fd = eventfd(0, EFD_CLOEXEC);
	ok(pbv_watch_open(context, &watch, &err));
	foreign(0, PB_REVOCABLE);
	ok(reg(0, RW, 0, PAGE, 0));
	refused(pbv_watch_add(watch, mr, &err), EOPNOTSUPP, "nothing would report");
	ok(pbv_dereg(mr, &err));
	pbv_watch_close(watch);
	close(events_fd);
	pbv_watch_close(NULL);
}
END_TEST

static bool readable(struct pbv_watch *watch)
{
	struct epoll_event event;

	return epoll_wait(pbv_watch_fd(watch), &event, 1, 0) == 1;
}

static void is_next(struct pbv_watch *watch, struct pbv_mr *want)
{
	struct pbv_mr *mr = NULL;

	ok(pbv_next_revoked(watch, &mr, &err));
	ck_assert_ptr_eq(mr, want);
}

START_TEST(what_the_module_tells)
{
	struct pbv_mr *mr, *second, *other;
	struct pbv_watch *watch;

	events_errno = 0;
	events_fd = eventfd(0, EFD_CLOEXEC);
	ok(pbv_watch_open(context, &watch, &err));
	ok(reg(0, RW, 0, PAGE, 0));
	ok(pbv_reg_buffer(the_pd, buffer, PAGE, PAGE, 0, RW, 0, &second, &err));
	ok(pbv_reg_buffer(the_pd, &buffers[1], 0, PAGE, 0, RW, 0, &other, &err));
	ok(pbv_watch_add(watch, mr, &err));
	ok(pbv_watch_add(watch, second, &err));
	ok(pbv_watch_add(watch, other, &err));
	refused(pbv_watch_add(watch, other, &err), EBUSY, "twice");
	is_next(watch, NULL);
	/* Both regions of the buffer are reported once, and no region of the other. */
	take_away(0, true);
	events[nr_events++] = (struct pb_event){ .type = PB_EVENT_REVOKED, .buffer.id = 10 };
	is_next(watch, mr);
	ck_assert(readable(watch));
	is_next(watch, second);
	ck_assert(!readable(watch));
	events[nr_events++] = (struct pb_event){ .type = PB_EVENT_REVOKED, .buffer.id = 10 };
	is_next(watch, NULL);
	ck_assert_int_eq(pbv_mr_state(mr), PBV_REVOKED);
	/* Ignore an event from before the registration. */
	ok(pbv_dereg(second, &err));
	ok(pbv_reg_buffer(the_pd, buffer, PAGE, PAGE, 0, RW, 0, &second, &err));
	ok(pbv_watch_add(watch, second, &err));
	events[nr_events++] = (struct pb_event){ .type = PB_EVENT_REVOKED, .buffer.id = 10 };
	is_next(watch, NULL);
	/* Recover from lost events. */
	take_away(1, false);
	events[nr_events++] = (struct pb_event){ .type = PB_EVENT_LOST };
	is_next(watch, other);
	is_next(watch, NULL);
	/* A deregistered region is not reported. */
	take_away(0, false);
	ok(pbv_dereg(mr, &err));
	ck_assert_int_eq(pbv_mr_state(second), PBV_REVOKED);
	events[nr_events++] = (struct pb_event){ .type = PB_EVENT_REVOKED, .buffer.id = 10 };
	ok(pbv_dereg(second, &err));
	is_next(watch, NULL);
	ck_assert(!readable(watch));
	/* A region outlives its watch. */
	pbv_watch_close(watch);
	ok(pbv_dereg(other, &err));
	close(events_fd);
}
END_TEST

START_TEST(told_at_once_of_what_happened_before)
{
	struct pbv_watch *watch;
	struct pbv_mr *mr;

	events_errno = 0;
	events_fd = eventfd(0, EFD_CLOEXEC);
	ok(pbv_watch_open(context, &watch, &err));
	ok(reg(0, RW, 0, PAGE, 0));
	take_away(0, true);
	ok(pbv_watch_add(watch, mr, &err));
	ck_assert(readable(watch));
	is_next(watch, mr);
	is_next(watch, NULL);
	/* A region that cannot be deregistered stays watched. */
	dereg_errno = EBUSY;
	refused(pbv_dereg(mr, &err), EBUSY, "window");
	refused(pbv_watch_add(watch, mr, &err), EBUSY, "twice");
	dereg_errno = 0;
	ok(pbv_dereg(mr, &err));
	pbv_watch_close(watch);
	close(events_fd);
}
END_TEST

START_TEST(what_our_device_tells)
{
	struct pbv_mr *mr, *pinned;
	struct ibv_context elsewhere = { .device = &device };
	struct pbv_watch *watch;

	own = true;
	own_fd = eventfd(0, EFD_CLOEXEC);
	ok(pbv_watch_open(context, &watch, &err));
	foreign(0, PB_REVOCABLE);
	foreign(1, PB_PINNED);
	ok(reg(0, RW, 0, PAGE, 0));
	ok(pbv_reg_buffer(the_pd, &buffers[1], 0, PAGE, 0, RW, 0, &pinned, &err));
	ok(pbv_watch_add(watch, mr, &err));
	ok(pbv_watch_add(watch, pinned, &err));
	/* Unknown keys are skipped. */
	own_keys[nr_own_keys++] = pbv_mr_verbs(mr)->lkey;
	own_keys[nr_own_keys++] = 0xdead;
	ck_assert_int_eq(eventfd_write(own_fd, 1), 0);
	ck_assert(readable(watch));
	is_next(watch, mr);
	is_next(watch, NULL);
	ck_assert_int_eq(pbv_mr_state(mr), PBV_REVOKED);
	own_error = -EIO;
	refused(pbv_next_revoked(watch, &mr, &err), EIO, "mock0");
	/*
	 * If a region is deregistered while its key is queued, the key's next region is not
	 * reported.
	 */
	ok(pbv_dereg(mr, &err));
	ok(reg(0, RW, 0, PAGE, 0));
	ok(pbv_watch_add(watch, mr, &err));
	own_keys[nr_own_keys++] = next_key = pbv_mr_verbs(mr)->lkey;
	ok(pbv_dereg(mr, &err));
	ok(reg(0, RW, 0, PAGE, 0));
	ok(pbv_watch_add(watch, mr, &err));
	ck_assert_uint_eq(nr_own_keys, 0);
	is_next(watch, NULL);
	/*
	 * It is unknown which keys were lost. Report the region as UNKNOWN, but not the pinned one.
	 */
	own_error = -EOVERFLOW;
	is_next(watch, mr);
	is_next(watch, NULL);
	ck_assert_int_eq(pbv_mr_state(mr), PBV_UNKNOWN);
	ok(pbv_dereg(mr, &err));
	mr = pinned;
	pd.context = &elsewhere;
	ok(pbv_reg_buffer(the_pd, &buffers[1], 0, PAGE, 0, RW, 0, &pinned, &err));
	refused(pbv_watch_add(watch, pinned, &err), EXDEV, "another context");
	ok(pbv_dereg(pinned, &err));
	ok(pbv_dereg(mr, &err));
	pbv_watch_close(watch);
	close(own_fd);
}
END_TEST

/* ---- the cache ---- */

static struct pbv_cache *cache;

static void cache_new(unsigned int capacity, unsigned int flags)
{
	ok(pbv_cache_create(the_pd, capacity, flags, &cache, &err));
}

static struct pbv_mr *get(unsigned int i, uint64_t offset, uint64_t length, int access)
{
	struct pbv_mr *mr;

	ok(pbv_cache_get(cache, &buffers[i], offset, length, access, &mr, &err));
	ck_assert_uint_eq(pbv_mr_iova(mr), pbv_mr_offset(mr));
	ck_assert(pbv_mr_offset(mr) <= offset &&
		  offset + length <= pbv_mr_offset(mr) + pbv_mr_length(mr));
	return mr;
}

/* Get and put a region. Return its key. */
static uint32_t key(unsigned int i, uint64_t offset, uint64_t length, int access)
{
	struct pbv_mr *mr = get(i, offset, length, access);
	uint32_t lkey = pbv_mr_verbs(mr)->lkey;

	pbv_cache_put(cache, mr);
	return lkey;
}

static struct pbv_cache_stats stats(void)
{
	struct pbv_cache_stats s;

	pbv_cache_stats(cache, &s);
	return s;
}

START_TEST(hits_and_misses)
{
	struct pb_buffer same = { &dmabufs[0] };
	struct pbv_mr *mr;
	uint32_t first;

	has_page = true;
	cache_new(8, 0);
	first = key(0, PAGE, 4 * PAGE, RW);
	ck_assert_uint_eq(queries, 1);
	ck_assert_uint_eq(key(0, PAGE, 4 * PAGE, RW), first);
	/* A part of it. */
	ck_assert_uint_eq(key(0, 2 * PAGE + 5, 17, RW), first);
	/* Another handle of the same dma-buf. */
	ok(pbv_cache_get(cache, &same, PAGE, 4 * PAGE, RW, &mr, &err));
	ck_assert_uint_eq(pbv_mr_verbs(mr)->lkey, first);
	pbv_cache_put(cache, mr);
	ck_assert_uint_eq(registrations, 1);
	ck_assert_uint_eq(queries, 1);
	/* No hit if the range is not covered, the access differs, or for another dma-buf. */
	ck_assert_uint_ne(key(0, PAGE - 1, 4 * PAGE, RW), first);
	ck_assert_uint_ne(key(0, PAGE, 4 * PAGE + 1, RW), first);
	ck_assert_uint_ne(key(0, PAGE, PAGE, IBV_ACCESS_REMOTE_READ), first);
	ck_assert_uint_ne(key(1, PAGE, 4 * PAGE, RW), first);
	ck_assert_uint_eq(registrations, 5);
	ck_assert_uint_eq(stats().regions, 5);
	ck_assert_uint_eq(stats().hits, 3);
	ck_assert_uint_eq(stats().misses, 5);
	ck_assert_uint_eq(stats().in_use, 0);
	/* Failed registrations return the usual errors, and change nothing. */
	refused(pbv_cache_get(cache, buffer, 0, 65 * PAGE, RW, &mr, &err), ERANGE, "size is");
	refused(pbv_cache_get(cache, buffer, 0, 0, RW, &mr, &err), EINVAL, "length");
	reg_errno = ENOMEM;
	refused(pbv_cache_get(cache, &buffers[2], 0, PAGE, RW, &mr, &err), ENOMEM, "room");
	ck_assert_uint_eq(stats().regions, 5);
	/* Only the cache deregisters its regions. */
	mr = get(0, PAGE, PAGE, RW);
	refused(pbv_dereg(mr, &err), EINVAL, "pbv_cache_put");
	refused(pbv_cache_destroy(cache, &err), EBUSY, "1 of its regions");
	pbv_cache_put(cache, mr);
	ok(pbv_cache_destroy(cache, &err));
	ok(pbv_cache_destroy(NULL, &err));
}
END_TEST

START_TEST(revoked_keys_are_not_handed_out)
{
	struct pbv_mr *old, *new;
	uint32_t first, second;

	has_page = true;
	cache_new(8, 0);
	first = key(0, 0, PAGE, RW);
	second = key(1, 0, PAGE, RW);
	/* A revocation of the other buffer costs one check, and changes nothing. */
	take_away(1, true);
	queries = 0;
	ck_assert_uint_eq(key(0, 0, PAGE, RW), first);
	ck_assert_uint_eq(queries, 1);
	ck_assert_uint_eq(key(0, 0, PAGE, RW), first);
	ck_assert_uint_eq(queries, 1);
	ck_assert_uint_ne(key(1, 0, PAGE, RW), second);
	ck_assert_uint_eq(registered, 2);
	/* A region in use keeps its key until it is put. */
	old = get(0, 0, PAGE, RW);
	take_away(0, true);
	new = get(0, 0, PAGE, RW);
	ck_assert_ptr_ne(old, new);
	ck_assert_int_eq(pbv_mr_state(old), PBV_REVOKED);
	ck_assert_int_eq(pbv_mr_state(new), PBV_LIVE);
	ck_assert_uint_eq(registered, 3);
	ck_assert_uint_eq(stats().in_use, 2);
	pbv_cache_put(cache, old);
	ck_assert_uint_eq(registered, 2);
	pbv_cache_put(cache, new);
	ck_assert_uint_eq(registered, 2);
	ck_assert_uint_eq(stats().stale, 2);
	/* A revoked buffer cannot be registered. */
	take_away(0, false);
	refused(pbv_cache_get(cache, buffer, 0, PAGE, RW, &new, &err), ENODEV, "revoked");
	refused(pbv_cache_get(cache, buffer, 0, PAGE, RW, &new, &err), ENODEV, "revoked");
	infos[0].state = PB_BUFFER_DEAD;
	refused(pbv_cache_get(cache, buffer, 0, PAGE, RW, &new, &err), ENODEV, "for good");
	ck_assert_uint_eq(registered, 1);
	ok(pbv_cache_destroy(cache, &err));
}
END_TEST

START_TEST(without_the_page_each_hit_asks)
{
	uint32_t first;

	cache_new(8, 0);
	first = key(0, 0, PAGE, RW);
	queries = 0;
	ck_assert_uint_eq(key(0, 0, PAGE, RW), first);
	ck_assert_uint_eq(key(0, 0, PAGE, RW), first);
	ck_assert_uint_eq(queries, 2);
	take_away(0, true);
	ck_assert_uint_ne(key(0, 0, PAGE, RW), first);
	ok(pbv_cache_destroy(cache, &err));
}
END_TEST

START_TEST(where_nobody_tells)
{
	uint32_t first;

	has_page = true;
	foreign(0, PB_REVOCABLE);
	foreign(1, PB_PINNED);
	foreign(2, PB_DYNAMIC);
	odp = true;
	cache_new(8, 0);
	/* The page does not count revocations of other devices. */
	first = key(0, 0, PAGE, RW);
	ck_assert_uint_ne(key(0, 0, PAGE, RW), first);
	ck_assert_uint_eq(registered, 1);
	/* Regions of buffers that are never revoked stay valid. */
	first = key(1, 0, PAGE, RW);
	take_away(3, false);
	ck_assert_uint_eq(key(1, 0, PAGE, RW), first);
	first = key(2, 0, PAGE, RW);
	ck_assert_uint_eq(key(2, 0, PAGE, RW), first);
	ok(pbv_cache_destroy(cache, &err));
	/* The caller promises to report revocations. */
	cache_new(8, PBV_CACHE_CALLER_TELLS);
	first = key(0, 0, PAGE, RW);
	ck_assert_uint_eq(key(0, 0, PAGE, RW), first);
	pbv_cache_forget(cache, buffer);
	ck_assert_uint_eq(registered, 0);
	ck_assert_uint_ne(key(0, 0, PAGE, RW), first);
	ok(pbv_cache_destroy(cache, &err));
	/*
	 * With peerbar's device the page counts revocations, and the device can report which region
	 * was revoked.
	 */
	own = true;
	cache_new(8, 0);
	first = key(0, 0, PAGE, RW);
	ck_assert_uint_eq(key(0, 0, PAGE, RW), first);
	take_away(3, false);
	ck_assert_uint_ne(key(0, 0, PAGE, RW), first);
	own_tells = true;
	first = key(0, 0, PAGE, RW);
	take_away(3, false);
	ck_assert_uint_eq(key(0, 0, PAGE, RW), first);
	own_revoked = first;
	take_away(3, false);
	ck_assert_uint_ne(key(0, 0, PAGE, RW), first);
	ok(pbv_cache_destroy(cache, &err));
}
END_TEST

START_TEST(the_one_not_used_for_longest_goes)
{
	struct pbv_mr *held[4];
	uint32_t keys[4];
	unsigned int i;

	has_page = true;
	cache_new(3, 0);
	for (i = 0; i < 3; i++)
		keys[i] = key(i, 0, PAGE, RW);
	ck_assert_uint_eq(key(0, 0, PAGE, RW), keys[0]);
	key(3, 0, PAGE, RW);
	ck_assert_uint_eq(registered, 3);
	ck_assert_uint_eq(key(0, 0, PAGE, RW), keys[0]);
	ck_assert_uint_eq(key(2, 0, PAGE, RW), keys[2]);
	ck_assert_uint_ne(key(1, 0, PAGE, RW), keys[1]);
	/* Regions in use are kept, even above the capacity. */
	for (i = 0; i < 4; i++)
		held[i] = get(i, PAGE, PAGE, RW);
	ck_assert_uint_eq(registered, 4);
	for (i = 0; i < 4; i++)
		pbv_cache_put(cache, held[i]);
	ck_assert_uint_eq(registered, 3);
	ck_assert_uint_eq(stats().regions, 3);
	ok(pbv_cache_destroy(cache, &err));
}
END_TEST

START_TEST(whole_buffers)
{
	struct pbv_mr *mr;
	uint32_t first;

	has_page = true;
	cache_new(3, PBV_CACHE_WHOLE);
	first = key(0, 5, 1, RW);
	ck_assert_uint_eq(key(0, 63 * PAGE, PAGE, RW), first);
	ck_assert_uint_eq(registrations, 1);
	refused(pbv_cache_get(cache, buffer, 63 * PAGE, PAGE + 1, RW, &mr, &err), ERANGE,
		"size is");
	ok(pbv_cache_destroy(cache, &err));
}
END_TEST

START_TEST(regions_that_cannot_be_ended)
{
	has_page = true;
	cache_new(1, 0);
	key(0, 0, PAGE, RW);
	dereg_errno = EBUSY;
	key(1, 0, PAGE, RW);
	ck_assert_uint_eq(registered, 2);
	refused(pbv_cache_destroy(cache, &err), EBUSY, "window");
	dereg_errno = 0;
	ok(pbv_cache_destroy(cache, &err));
}
END_TEST

START_TEST(wrong_caches)
{
	refused(pbv_cache_create(the_pd, 0, 0, &cache, &err), EINVAL, "0 regions");
	refused(pbv_cache_create(the_pd, (1u << 20) + 1, 0, &cache, &err), EINVAL,
		"1048577 regions");
	refused(pbv_cache_create(the_pd, 1, 8, &cache, &err), EINVAL, "flags 0x8");
	cache_new(1 << 20, 0);
	ok(pbv_cache_destroy(cache, &err));
}
END_TEST

static atomic_bool enough;

/* Check that the regions of a buffer were valid when they were requested. */
static void *user(void *arg)
{
	unsigned int seed = *(unsigned int *)arg, n;
	uint64_t before;

	for (n = 0; n < 20000; n++) {
		unsigned int i = (unsigned int)rand_r(&seed) % 4;
		struct pbv_mr *mr;

		before = __atomic_load_n(&infos[i].revocations, __ATOMIC_ACQUIRE);
		if (pbv_cache_get(cache, &buffers[i], (uint64_t)(rand_r(&seed) % 4) * PAGE, PAGE,
				  RW, &mr, NULL))
			return "pbv_cache_get() failed";
		if (mr->revocations < before)
			return "the region had been revoked before it was asked for";
		if (mr->buffer->dmabuf != &dmabufs[i])
			return "the region is another buffer's";
		pbv_cache_put(cache, mr);
	}
	return NULL;
}

static void *revoker(void *arg)
{
	unsigned int i = 0;

	(void)arg;
	while (!atomic_load(&enough)) {
		__atomic_add_fetch(&infos[i++ % 4].revocations, 1, __ATOMIC_RELEASE);
		__atomic_add_fetch(&the_page, 1, __ATOMIC_RELEASE);
		usleep(50);
	}
	return NULL;
}

START_TEST(several_threads)
{
	unsigned int seeds[4] = { 1, 2, 3, 4 }, i;
	pthread_t threads[4], other;
	void *why;

	has_page = true;
	cache_new(6, 0);
	atomic_store(&enough, false);
	ck_assert_int_eq(pthread_create(&other, NULL, revoker, NULL), 0);
	for (i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, user, &seeds[i]), 0);
	for (i = 0; i < 4; i++) {
		pthread_join(threads[i], &why);
		ck_assert_msg(!why, "%s", (char *)why);
	}
	atomic_store(&enough, true);
	pthread_join(other, NULL);
	ck_assert_uint_eq(stats().in_use, 0);
	ck_assert_uint_eq(stats().regions, registered);
	ok(pbv_cache_destroy(cache, &err));
}
END_TEST

/*
 * In a case of its own, to count the instructions: all calls of pbv_cache_get() but the first are
 * hits.
 */
START_TEST(a_hit_asks_nobody)
{
	struct pbv_mr *mr;
	unsigned int i;

	has_page = true;
	cache_new(1024, 0);
	for (i = 0; i < 1001; i++) {
		ok(pbv_cache_get(cache, buffer, PAGE, 2 * PAGE, RW, &mr, NULL));
		pbv_cache_put(cache, mr);
	}
	ck_assert_uint_eq(queries, 1);
	ck_assert_uint_eq(registrations, 1);
	ck_assert_uint_eq(stats().hits, 1000);
	ok(pbv_cache_destroy(cache, &err));
}
END_TEST

/* ---- addresses ---- */

START_TEST(lines_of_maps)
{
	static const char *const bad[] = { "", "\n", "7f00-7f", "no line at all",
					   "7f0000-7f1000 rw-s 0000\n" };
	struct pbv_vma vma;
	size_t i;

	ck_assert(
		pbv_parse_maps("7f0011000000-7f0011003000 rw-s 00002000 00:0c 77                         /dmabuf:0000:01:00.0 "
			       "BAR 2\n",
			       &vma));
	ck_assert_uint_eq(vma.start, 0x7f0011000000);
	ck_assert_uint_eq(vma.end, 0x7f0011003000);
	ck_assert_uint_eq(vma.offset, 0x2000);
	ck_assert_uint_eq(vma.major, 0);
	ck_assert_uint_eq(vma.minor, 12);
	ck_assert_uint_eq(vma.inode, 77);
	ck_assert(vma.writable && vma.shared && vma.dmabuf);
	ck_assert(pbv_parse_maps("7f0011000000-7f0011003000 r--s 00000000 00:0c 77 /dmabuf:\n",
				 &vma));
	ck_assert(!vma.writable && vma.dmabuf);
	/* A private mapping is memory of its own. */
	ck_assert(pbv_parse_maps("7f0011000000-7f0011003000 rw-p 00000000 00:0c 77 /dmabuf:\n",
				 &vma));
	ck_assert(!vma.dmabuf);
	ck_assert(pbv_parse_maps("7f0011000000-7f0011003000 rw-p 00000000 00:00 0 \n", &vma));
	ck_assert(!vma.dmabuf);
	ck_assert(pbv_parse_maps("7f0011000000-7f0011003000 rw-s 00000000 08:01 77 /tmp/dmabuf:\n",
				 &vma));
	ck_assert(!vma.dmabuf);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(!pbv_parse_maps(bad[i], &vma), "'%s' was taken for a line", bad[i]);
}
END_TEST

/* Return 1 if the address is a buffer's, 0 if not, or a negative errno. @where may be NULL. */
static int look_up(struct pbv_space *space, const void *p, size_t length, struct pb_buffer **where,
		   uint64_t *offset)
{
	struct pb_buffer *found = NULL;
	int ret = pbv_lookup(space, p, length, &found, offset, &err);

	if (ret)
		return ret;
	ret = !!found;
	if (where)
		*where = found;
	else
		pb_buffer_close(found);
	return ret;
}

START_TEST(a_register_of_mappings)
{
	char *p = (char *)0x7e0000000000;
	struct pbv_space *space;
	struct pb_buffer *found = NULL;
	uint64_t offset;

	ok(pbv_space_create(&space, &err));
	ok(pbv_space_add(space, p + 16 * PAGE, 4 * PAGE, buffer, 8 * PAGE, &err));
	ok(pbv_space_add(space, p, PAGE + 1, &buffers[1], 0, &err));
	/* Adjacent, in memory and in the buffer. */
	ok(pbv_space_add(space, p + 20 * PAGE, 4 * PAGE, buffer, 12 * PAGE, &err));
	/* Adjacent in memory, but not in the buffer. */
	ok(pbv_space_add(space, p + 24 * PAGE, 4 * PAGE, buffer, 0, &err));
	refused(pbv_space_add(space, p + 19 * PAGE, PAGE, buffer, 0, &err), EEXIST, "registered");
	refused(pbv_space_add(space, p + PAGE, PAGE, buffer, 0, &err), EEXIST, "registered");
	refused(pbv_space_add(space, p + 15 * PAGE, 99 * PAGE, buffer, 0, &err), ERANGE, "size is");
	refused(pbv_space_add(space, p + 1, PAGE, buffer, 0, &err), EINVAL, "multiples");
	refused(pbv_space_add(space, p + 40 * PAGE, PAGE, buffer, 1, &err), EINVAL, "multiples");
	refused(pbv_space_add(space, p + 40 * PAGE, 0, buffer, 0, &err), EINVAL, "multiples");
	refused(pbv_space_add(space, p + 40 * PAGE, 2 * PAGE, buffer, 63 * PAGE, &err), ERANGE,
		"size is");
	refused(pbv_space_add(space, (void *)-PAGE, 2 * PAGE, buffer, 0, &err), ERANGE, "size is");

	ck_assert_int_eq(look_up(space, p + 17 * PAGE + 3, 5, &found, &offset), 1);
	ck_assert_uint_eq(pb_buffer_id(found), 100);
	ck_assert_uint_eq(offset, 9 * PAGE + 3);
	pb_buffer_close(found);
	ck_assert_int_eq(look_up(space, p + 16 * PAGE, 8 * PAGE, NULL, NULL), 1);
	refused(look_up(space, p + 16 * PAGE, 8 * PAGE + 1, &found, &offset), ERANGE,
		"end elsewhere");
	refused(look_up(space, p + 27 * PAGE, 2 * PAGE, &found, &offset), ERANGE, "end elsewhere");
	ck_assert_int_eq(look_up(space, p, 2 * PAGE, &found, &offset), 1);
	ck_assert_uint_eq(pb_buffer_id(found), 101);
	ck_assert_uint_eq(offset, 0);
	pb_buffer_close(found);
	/* Nothing is registered there. */
	ck_assert_int_eq(look_up(space, p + 2 * PAGE, PAGE, &found, &offset), 0);
	ck_assert_int_eq(look_up(space, p + 28 * PAGE, PAGE, &found, &offset), 0);
	refused(look_up(space, p, 0, &found, &offset), EINVAL, "length");
	refused(look_up(space, (void *)-PAGE, 2 * PAGE, &found, &offset), ERANGE, "2^64");

	ok(pbv_space_remove(space, p + 16 * PAGE, &err));
	refused(pbv_space_remove(space, p + 16 * PAGE, &err), ENOENT, "no mapping");
	refused(pbv_space_remove(space, p + PAGE, &err), ENOENT, "no mapping");
	ck_assert_int_eq(look_up(space, p + 16 * PAGE, PAGE, &found, &offset), 0);
	ck_assert_int_eq(look_up(space, p + 21 * PAGE, PAGE, NULL, &offset), 1);
	ck_assert_uint_eq(offset, 13 * PAGE);
	pbv_space_destroy(space);
	pbv_space_destroy(NULL);
}
END_TEST

START_TEST(many_mappings)
{
	struct pbv_space *space;
	uint64_t offset;
	unsigned int i;

	ok(pbv_space_create(&space, &err));
	/* Out of order. */
	for (i = 0; i < 1000; i++)
		ok(pbv_space_add(space, (void *)(0x7e0000000000 + (i * 7 % 1000) * 2 * PAGE), PAGE,
				 buffer, (i * 7 % 64) * PAGE, &err));
	for (i = 0; i < 1000; i++) {
		ck_assert_int_eq(look_up(space,
					 (void *)(0x7e0000000000 + (i * 7 % 1000) * 2 * PAGE + 9),
					 1, NULL, &offset),
				 1);
		ck_assert_uint_eq(offset, (i * 7 % 64) * PAGE + 9);
	}
	pbv_space_destroy(space);
}
END_TEST

START_TEST(addresses)
{
	struct pbv_space *space;
	static char memory[100];
	struct pbv_mr *mr;
	void *shared;

	ok(pbv_space_create(&space, &err));
	ok(pbv_space_add(space, (void *)0x7e0000000000, 4 * PAGE, buffer, 8 * PAGE, &err));
	ok(pbv_reg_address(space, the_pd, (void *)0x7e0000000123, 5, RW, 0, &mr, &err));
	ck_assert_uint_eq(pbv_mr_iova(mr), 0x7e0000000123);
	ck_assert_uint_eq(pbv_mr_offset(mr), 8 * PAGE + 0x123);
	ck_assert_uint_eq(pb_buffer_id(pbv_mr_buffer(mr)), 100);
	ok(pbv_dereg(mr, &err));
	/* Ordinary memory, with a space and without, private and shared. */
	ok(pbv_reg_address(space, the_pd, memory, sizeof(memory), RW, 0, &mr, &err));
	ck_assert_ptr_null(pbv_mr_buffer(mr));
	ck_assert_uint_eq(pbv_mr_iova(mr), (uintptr_t)memory);
	ck_assert_int_eq(pbv_mr_state(mr), PBV_LIVE);
	ok(pbv_dereg(mr, &err));
	shared = mmap(NULL, PAGE, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ok(pbv_reg_address(NULL, the_pd, shared, PAGE, 0, 0, &mr, &err));
	ok(pbv_dereg(mr, &err));
	munmap(shared, PAGE);
	reg_errno = EFAULT;
	refused(pbv_reg_address(NULL, the_pd, memory, sizeof(memory), RW, 0, &mr, &err), EFAULT,
		"dma-buf");
	reg_errno = ENOMEM;
	refused(pbv_reg_address(NULL, the_pd, memory, sizeof(memory), RW, 0, &mr, &err), ENOMEM,
		"RLIMIT_MEMLOCK");
	reg_errno = EINVAL;
	refused(pbv_reg_address(NULL, the_pd, memory, sizeof(memory), RW, 0, &mr, &err), EINVAL,
		"ibv_reg_mr");
	refused(pbv_reg_address(space, the_pd, memory, 0, RW, 0, &mr, &err), EINVAL, "length");
	reg_errno = 0;
	infos[0].model = PB_DYNAMIC;
	refused(pbv_reg_address(space, the_pd, (void *)0x7e0000000123, 5, RW, 0, &mr, &err),
		EOPNOTSUPP, "DYNAMIC");
	pbv_space_destroy(space);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("unit-verbs");
	TCase *t = tcase_create("all");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 120); /* valgrind */
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_region);
	tcase_add_test(t, wrong_arguments);
	tcase_add_test(t, models_that_are_refused);
	tcase_add_test(t, every_errno_has_its_sentence);
	tcase_add_test(t, what_a_device_takes);
	tcase_add_test(t, states);
	tcase_add_test(t, nobody_would_tell);
	tcase_add_test(t, what_the_module_tells);
	tcase_add_test(t, told_at_once_of_what_happened_before);
	tcase_add_test(t, what_our_device_tells);
	tcase_add_test(t, hits_and_misses);
	tcase_add_test(t, revoked_keys_are_not_handed_out);
	tcase_add_test(t, without_the_page_each_hit_asks);
	tcase_add_test(t, where_nobody_tells);
	tcase_add_test(t, the_one_not_used_for_longest_goes);
	tcase_add_test(t, whole_buffers);
	tcase_add_test(t, regions_that_cannot_be_ended);
	tcase_add_test(t, wrong_caches);
	tcase_add_test(t, several_threads);
	tcase_add_test(t, lines_of_maps);
	tcase_add_test(t, a_register_of_mappings);
	tcase_add_test(t, many_mappings);
	tcase_add_test(t, addresses);
	suite_add_tcase(s, t);
	t = tcase_create("hits");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_hit_asks_nobody);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
