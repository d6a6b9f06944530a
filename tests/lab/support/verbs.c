// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The verbs device, see verbs.h. */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "verbs.h"

#define PATIENCE_MS 60000 /* for events that take a moment, on a slow machine */

uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- the link ---- */

const char *rdma_name(void)
{
	const char *name = getenv("LAB_RDMA");

	return name ? name : "pb0";
}

bool rdma_is_rxe(void)
{
	return !strncmp(rdma_name(), "rxe", 3);
}

bool rdma_is_wire(void)
{
	return getenv("LAB_WIRE");
}

const char *nic_bdf(unsigned int n)
{
	struct pb_error err;
	static char found[2][PB_BDF_LEN];
	struct pb_pci_function *list;
	unsigned int seen = 0, i, count;

	if (!found[0][0]) {
		if (pb_pci_list(&list, &count, &err))
			lab_die("%s", err.text);
		for (i = 0; i < count; i++)
			if (list[i].vendor == 0x8086 && list[i].device == 0x10d3 && seen < 2)
				strcpy(found[seen++], list[i].bdf);
		free(list);
		if (seen < 2)
			lab_die("this machine has %u NICs, not 2", seen);
	}
	return found[n];
}

static void run(const char *command)
{
	if (system(command))
		lab_die("this failed: %s", command);
}

/* A test of another suite may have unbound the NIC: bind it first. */
void nic_name(unsigned int nic, char *name, size_t size)
{
	struct pb_error err;
	char command[200];
	unsigned int i;
	FILE *f;

	if (pb_pci_bind(nic_bdf(nic), "e1000e", &err))
		lab_die("%s", err.text);
	snprintf(command, sizeof(command), "ls /sys/bus/pci/devices/%s/net 2>/dev/null",
		 nic_bdf(nic));
	/* A NIC whose network namespace was removed comes back a moment later. */
	for (i = 0; i < 100; i++) {
		f = popen(command, "re");
		if (!f)
			lab_die("no shell: %s", strerror(errno));
		*name = 0;
		if (!fgets(name, (int)size, f))
			*name = 0;
		pclose(f);
		name[strcspn(name, "\n")] = 0;
		if (*name)
			return;
		usleep(100000);
	}
	lab_die("the NIC %s has no network device", nic_bdf(nic));
}

int rdma_link_add(const char *name, unsigned int nic)
{
	char netdev[64], command[300];

	nic_name(nic, netdev, sizeof(netdev));
	snprintf(command, sizeof(command), "rdma link add %s type %s netdev %s", name,
		 strncmp(name, "rxe", 3) ? "peerbar" : "rxe", netdev);
	return system(command);
}

int rdma_link_del(const char *name)
{
	char command[100];

	snprintf(command, sizeof(command), "rdma link delete %s", name);
	return system(command);
}

void rdma_device_goes(const char *name)
{
	uint64_t until = now_ms() + 10000;
	char path[100];

	snprintf(path, sizeof(path), "/sys/class/infiniband/%s", name);
	while (!access(path, F_OK) && now_ms() < until)
		usleep(10000);
	ck_assert_msg(access(path, F_OK), "the device %s is still there", name);
}

void enter_netns(void)
{
	int fd = open("/run/netns/lab", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, CLONE_NEWNET))
		lab_die("no network namespace: %s", strerror(errno));
	close(fd);
}

void rdma_nic_up(unsigned int nic)
{
	char command[500], netdev[64];

	nic_name(nic, netdev, sizeof(netdev));
	/* Two NICs of one host don't answer each other's ARP: add the neighbours. */
	snprintf(command, sizeof(command),
		 "ip addr replace %s/24 dev %s && ip link set %s up && ip neigh replace %s lladdr %s dev %s",
		 nic ? NIC1_IP : NIC0_IP, netdev, netdev, nic ? NIC0_IP : NIC1_IP,
		 nic ? NIC0_MAC : NIC1_MAC, netdev);
	run(command);
}

/* Whether the device exists. */
static bool rdma_is_there(void)
{
	char path[100];

	snprintf(path, sizeof(path), "/sys/class/infiniband/%s", rdma_name());
	return !access(path, F_OK);
}

void rdma_link_up(void)
{
	char command[300];
	unsigned int i;

	if (rdma_is_there())
		return;
	run("modprobe -a e1000e ib_uverbs rdma_ucm");
	run(rdma_is_rxe() ? "modprobe rdma_rxe" : "modprobe peerbar-rdma");
	if (rdma_is_wire())
		run("echo N >/sys/module/peerbar_rdma/parameters/direct");
	rdma_nic_up(0);
	rdma_nic_up(1);
	if (rdma_link_add(rdma_name(), 0))
		lab_die("there is no device %s", rdma_name());
	/* The GIDs follow the addresses, and the port the NIC's carrier, with a delay. */
	for (i = 0; i < 100; i++) {
		snprintf(command, sizeof(command),
			 "grep -q ACTIVE /sys/class/infiniband/%s/ports/1/state && "
			 "grep -qi ffff:0a4d:0001 /sys/class/infiniband/%s/ports/1/gids/*",
			 rdma_name(), rdma_name());
		if (!system(command))
			return;
		usleep(100000);
	}
	lab_die("the port of %s does not become active", rdma_name());
}

void rdma_set_wire(bool on)
{
	if (!rdma_is_there())
		return;
	if (rdma_link_del(rdma_name()))
		lab_die("%s cannot be removed", rdma_name());
	run(on ? "echo Y >/sys/module/peerbar_rdma/parameters/wire" :
		 "echo N >/sys/module/peerbar_rdma/parameters/wire");
	rdma_link_up();
}

TCase *rdma_case(Suite *s, const char *name, double timeout, void (*up)(void), void (*down)(void))
{
	TCase *t = tcase_create(name);

	tcase_set_timeout(t, timeout);
	tcase_add_unchecked_fixture(t, rdma_link_up, NULL);
	if (up)
		tcase_add_checked_fixture(t, up, down);
	suite_add_tcase(s, t);
	return t;
}

/* ---- ends ---- */

static enum ibv_qp_type default_type = IBV_QPT_RC;

void ends_have_type(enum ibv_qp_type type)
{
	default_type = type;
}

bool ends_are_reliable(void)
{
	return default_type == IBV_QPT_RC;
}

struct ibv_context *verbs_open(const char *name)
{
	struct ibv_context *ctx = NULL;
	struct ibv_device **list;
	int i, n;

	list = ibv_get_device_list(&n);
	ck_assert_ptr_nonnull(list);
	for (i = 0; i < n && !ctx; i++)
		if (!strcmp(ibv_get_device_name(list[i]), name))
			ctx = ibv_open_device(list[i]);
	ibv_free_device_list(list);
	ck_assert_msg(ctx, "the device %s cannot be opened; libibverbs knows %d devices", name, n);
	/* Let tests poll for events. */
	ck_assert_int_eq(fcntl(ctx->async_fd, F_SETFL, fcntl(ctx->async_fd, F_GETFL) | O_NONBLOCK),
			 0);
	return ctx;
}

/* Choose the first GID of RoCE v2 with an IPv4 address. */
static void choose_gid(struct end *end)
{
	struct ibv_gid_entry entries[64];
	ssize_t i, n = ibv_query_gid_table(end->ctx, entries, 64, 0);

	for (i = 0; i < n; i++) {
		const uint8_t *raw = entries[i].gid.raw;

		if (entries[i].gid_type != IBV_GID_TYPE_ROCE_V2 || raw[10] != 0xff ||
		    raw[11] != 0xff || raw[0])
			continue;
		end->gid = entries[i].gid;
		end->gid_index = (int)entries[i].gid_index;
		return;
	}
	ck_abort_msg("%s has no RoCE v2 GID of an IPv4 address",
		     ibv_get_device_name(end->ctx->device));
}

static struct ibv_qp *qp_for_calls(struct end *end, struct ibv_qp_init_attr *attr, uint64_t calls)
{
	struct ibv_qp_init_attr_ex ex = {
		.send_cq = attr->send_cq,
		.recv_cq = attr->recv_cq,
		.srq = attr->srq,
		.cap = attr->cap,
		.qp_type = attr->qp_type,
		.sq_sig_all = attr->sq_sig_all,
		.comp_mask = IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_SEND_OPS_FLAGS,
		.pd = end->pd,
		.send_ops_flags = calls,
	};
	struct ibv_qp *qp = ibv_create_qp_ex(end->ctx, &ex);

	attr->cap = ex.cap;
	return qp;
}

/* Create or open an XRC target, with a queue in its domain. */
static void make_target(struct end *end, const struct end_options *o)
{
	struct ibv_xrcd_init_attr domain = {
		.comp_mask = IBV_XRCD_INIT_ATTR_FD | IBV_XRCD_INIT_ATTR_OFLAGS,
		.fd = o->domain ? o->domain : -1,
		.oflags = O_CREAT,
	};
	struct ibv_srq_init_attr_ex srq = {
		.attr = { .max_wr = o->srq ? o->srq : 64, .max_sge = o->sges ? o->sges : 8 },
		.comp_mask = IBV_SRQ_INIT_ATTR_TYPE | IBV_SRQ_INIT_ATTR_PD |
			IBV_SRQ_INIT_ATTR_XRCD | IBV_SRQ_INIT_ATTR_CQ,
		.srq_type = IBV_SRQT_XRC,
		.pd = end->pd,
		.cq = end->cq,
	};
	struct ibv_qp_init_attr_ex create = {
		.qp_type = IBV_QPT_XRC_RECV,
		.comp_mask = IBV_QP_INIT_ATTR_XRCD,
	};
	struct ibv_qp_open_attr open = {
		.comp_mask = IBV_QP_OPEN_ATTR_NUM | IBV_QP_OPEN_ATTR_XRCD | IBV_QP_OPEN_ATTR_TYPE,
		.qp_num = o->target,
		.qp_type = IBV_QPT_XRC_RECV,
	};

	end->xrcd = ibv_open_xrcd(end->ctx, &domain);
	ck_assert_msg(end->xrcd, "no XRC domain: %s", strerror(errno));
	srq.xrcd = end->xrcd;
	end->srq = ibv_create_srq_ex(end->ctx, &srq);
	ck_assert_msg(end->srq, "no XRC queue: %s", strerror(errno));
	create.xrcd = end->xrcd;
	open.xrcd = end->xrcd;
	end->qp = o->target ? ibv_open_qp(end->ctx, &open) : ibv_create_qp_ex(end->ctx, &create);
	ck_assert_msg(end->qp, "no XRC target: %s", strerror(errno));
}

static void set_defaults(struct end *end, const struct end_options *o)
{
	end->access = o->access == -1 ? 0 : o->access ? o->access : REMOTE_ACCESS;
	end->psn = (end->qp->qp_num * 7919) & 0xffffff;
	/* 1 s, and the highest retry counts */
	end->timeout = 18;
	end->retries = 7;
	end->rnr_retries = 7;
}

static void make_qp(struct end *end, const struct end_options *o)
{
	unsigned int depth = o->depth ? o->depth : 64, sges = o->sges ? o->sges : 8;
	struct ibv_qp_init_attr attr = {
		.send_cq = end->cq,
		.recv_cq = end->cq,
		.qp_type = o->type ? o->type : default_type,
		.sq_sig_all = o->all_signaled,
		.cap = { .max_send_wr = depth,
			 .max_recv_wr = depth,
			 .max_send_sge = sges,
			 .max_recv_sge = sges,
			 .max_inline_data = o->inline_len ? o->inline_len : 64 },
	};

	if (attr.qp_type == IBV_QPT_XRC_RECV) {
		make_target(end, o);
		set_defaults(end, o);
		return;
	}
	if (o->srq) {
		struct ibv_srq_init_attr srq = {
			.attr = { .max_wr = o->srq, .max_sge = sges },
		};

		end->srq = ibv_create_srq(end->pd, &srq);
		ck_assert_msg(end->srq, "no shared receive queue: %s", strerror(errno));
	}
	attr.srq = o->shared ? o->shared : end->srq;
	end->qp = o->calls ? qp_for_calls(end, &attr, o->calls) : ibv_create_qp(end->pd, &attr);
	ck_assert_msg(end->qp, "no queue pair: %s", strerror(errno));
	ck_assert_uint_ge(attr.cap.max_send_wr, depth);
	ck_assert_uint_ge(attr.cap.max_send_sge, sges);
	set_defaults(end, o);
}

void end_open(struct end *end, const struct end_options *options)
{
	static const struct end_options none;
	const struct end_options *o = options ? options : &none;

	memset(end, 0, sizeof(*end));
	end->ctx = verbs_open(o->device ? o->device : rdma_name());
	end->pd = ibv_alloc_pd(end->ctx);
	ck_assert_ptr_nonnull(end->pd);
	if (o->events) {
		end->channel = ibv_create_comp_channel(end->ctx);
		ck_assert_ptr_nonnull(end->channel);
	}
	end->cq = ibv_create_cq(end->ctx, o->cqe ? (int)o->cqe : 256, end, end->channel, 0);
	ck_assert_msg(end->cq, "no completion queue: %s", strerror(errno));
	choose_gid(end);
	make_qp(end, o);
}

void end_open_beside(struct end *end, const struct end *of, const struct end_options *options)
{
	static const struct end_options none;

	*end = *of;
	end->borrowed = true;
	end->srq = NULL;
	end->xrcd = NULL;
	make_qp(end, options ? options : &none);
}

void end_close(struct end *end)
{
	if (end->qp)
		ck_assert_int_eq(ibv_destroy_qp(end->qp), 0);
	if (end->srq)
		ck_assert_int_eq(ibv_destroy_srq(end->srq), 0);
	if (end->xrcd)
		ck_assert_int_eq(ibv_close_xrcd(end->xrcd), 0);
	if (!end->borrowed) {
		ck_assert_int_eq(ibv_destroy_cq(end->cq), 0);
		if (end->channel)
			ck_assert_int_eq(ibv_destroy_comp_channel(end->channel), 0);
		ck_assert_int_eq(ibv_dealloc_pd(end->pd), 0);
		ck_assert_int_eq(ibv_close_device(end->ctx), 0);
	}
	memset(end, 0, sizeof(*end));
}

void end_leave(struct end *end, struct ibv_mr *mr)
{
	struct ibv_send_wr wr = work(1, IBV_WR_SEND, NULL, 0, NULL, 0);
	struct ibv_wc wc;
	int ret;

	ck_assert_ptr_null(ibv_alloc_pd(end->ctx));
	ck_assert_msg(errno == EIO || errno == ENODEV, "ibv_alloc_pd(): %s", strerror(errno));
	ret = post(end, &wr);
	ck_assert_msg(ret == EIO || ret == ENODEV, "ibv_post_send(): %s", strerror(ret));
	ibv_poll_cq(end->cq, 1, &wc);
	ibv_dereg_mr(mr);
	ibv_destroy_qp(end->qp);
	ibv_destroy_cq(end->cq);
	ibv_dealloc_pd(end->pd);
	ck_assert_int_eq(ibv_close_device(end->ctx), 0);
}

uint32_t end_srqn(const struct end *end)
{
	uint32_t number;

	ck_assert_int_eq(ibv_get_srq_num(end->srq, &number), 0);
	return number;
}

struct ibv_ah *end_handle(struct end *end, const union ibv_gid *gid)
{
	struct ibv_ah_attr attr = {
		.is_global = 1,
		.port_num = 1,
		.grh = { .dgid = *gid, .hop_limit = 64, .sgid_index = (uint8_t)end->gid_index },
	};
	struct ibv_ah *ah = ibv_create_ah(end->pd, &attr);

	ck_assert_msg(ah, "no address handle: %s", strerror(errno));
	return ah;
}

struct address end_address(const struct end *end)
{
	return (struct address){ end->qp->qp_num, end->psn, end->gid };
}

int end_to_init(struct end *end)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_INIT,
				    .port_num = 1,
				    .qkey = QKEY,
				    .qp_access_flags = (unsigned int)end->access };

	return ibv_modify_qp(end->qp, &attr,
			     IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT |
				     (end->qp->qp_type == IBV_QPT_UD ? IBV_QP_QKEY :
								       IBV_QP_ACCESS_FLAGS));
}

int end_to_rtr(struct end *end, const struct address *peer)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_RTR };
	struct ibv_port_attr port;

	if (end->qp->qp_type == IBV_QPT_UD)
		return ibv_modify_qp(end->qp, &attr, IBV_QP_STATE);
	ck_assert_int_eq(ibv_query_port(end->ctx, 1, &port), 0);
	attr.path_mtu = port.active_mtu;
	attr.dest_qp_num = peer->qpn;
	attr.rq_psn = peer->psn;
	attr.max_dest_rd_atomic = 16;
	attr.min_rnr_timer = 12; /* 0.64 ms */
	attr.ah_attr = (struct ibv_ah_attr){
		.is_global = 1,
		.port_num = 1,
		.grh = { .dgid = peer->gid, .hop_limit = 64, .sgid_index = (uint8_t)end->gid_index },
	};
	return ibv_modify_qp(end->qp, &attr,
			     IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
				     IBV_QP_RQ_PSN |
				     (end->qp->qp_type == IBV_QPT_UC ?
					      0 :
					      IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER));
}

int end_to_rts(struct end *end)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_RTS,
				    .sq_psn = end->psn,
				    .timeout = end->timeout,
				    .retry_cnt = end->retries,
				    .rnr_retry = end->rnr_retries,
				    .max_rd_atomic = 16 };

	return ibv_modify_qp(end->qp, &attr,
			     IBV_QP_STATE | IBV_QP_SQ_PSN |
				     (end->qp->qp_type == IBV_QPT_UC ||
						      end->qp->qp_type == IBV_QPT_UD ?
					      0 :
					      IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
						      IBV_QP_MAX_QP_RD_ATOMIC));
}

int end_to(struct end *end, enum ibv_qp_state state)
{
	struct ibv_qp_attr attr = { .qp_state = state };

	return ibv_modify_qp(end->qp, &attr, IBV_QP_STATE);
}

static void step_works(struct end *end, const char *to, int error)
{
	ck_assert_msg(!error, "queue pair %u cannot be modified to %s: %s", end->qp->qp_num, to,
		      strerror(error));
}

void end_connect(struct end *end, const struct address *peer)
{
	step_works(end, "INIT", end_to_init(end));
	step_works(end, "RTR", end_to_rtr(end, peer));
	step_works(end, "RTS", end_to_rts(end));
}

void ends_connect(struct end *a, struct end *b)
{
	struct address to_a = end_address(a), to_b = end_address(b);

	if (a->qp->qp_type == IBV_QPT_XRC_SEND)
		a->remote_srqn = end_srqn(b);
	end_connect(a, &to_b);
	end_connect(b, &to_a);
}

void forget_completions(struct end *end)
{
	struct ibv_wc wc;

	while (ibv_poll_cq(end->cq, 1, &wc) > 0)
		;
}

void replace_qps(struct end *a, struct end *b)
{
	struct end x, y;

	end_open_beside(&x, a, NULL);
	end_open_beside(&y, b, NULL);
	ck_assert_int_eq(ibv_destroy_qp(a->qp) | ibv_destroy_qp(b->qp), 0);
	x.borrowed = y.borrowed = false;
	*a = x;
	*b = y;
	forget_completions(a);
	forget_completions(b);
	ends_connect(a, b);
}

enum ibv_qp_state end_state(struct end *end)
{
	struct ibv_qp_init_attr init;
	struct ibv_qp_attr attr;

	ck_assert_int_eq(ibv_query_qp(end->qp, &attr, IBV_QP_STATE, &init), 0);
	return attr.qp_state;
}

void end_state_is(struct end *end, enum ibv_qp_state state)
{
	uint64_t until = now_ms() + 1000;

	while (end_state(end) != state && now_ms() < until)
		usleep(1000);
	ck_assert_msg(end_state(end) == state, "the queue pair's state is %d, not %d",
		      end_state(end), state);
}

/* ---- memory ---- */

struct mem mem_new(struct end *end, size_t size, int access)
{
	struct mem mem = { .size = size };

	mem.p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(mem.p, MAP_FAILED);
	mem.addr = (uintptr_t)mem.p;
	mem.mr = ibv_reg_mr(end->pd, mem.p, size, access);
	ck_assert_msg(mem.mr, "%zu bytes cannot be registered: %s", size, strerror(errno));
	return mem;
}

void mem_free(struct mem *mem)
{
	if (mem->mr)
		ck_assert_int_eq(ibv_dereg_mr(mem->mr), 0);
	munmap(mem->p, mem->size);
	memset(mem, 0, sizeof(*mem));
}

struct ibv_sge sge(const struct mem *mem, size_t offset, size_t length)
{
	return (struct ibv_sge){ .addr = mem->addr + offset,
				 .length = (uint32_t)length,
				 .lkey = mem->mr->lkey };
}

struct pair pair;

void pair_open(struct pair *p, const struct end_options *options, size_t size)
{
	end_open(&p->a, options);
	end_open(&p->b, options);
	p->at_a = mem_new(&p->a, size, ALL_ACCESS);
	p->at_b = mem_new(&p->b, size, ALL_ACCESS);
}

void pair_close(struct pair *p)
{
	mem_free(&p->at_a);
	mem_free(&p->at_b);
	end_close(&p->a);
	end_close(&p->b);
}

/* ---- work ---- */

struct ibv_send_wr work(uint64_t id, enum ibv_wr_opcode opcode, struct ibv_sge *sges, int n,
			const struct mem *remote, size_t offset)
{
	struct ibv_send_wr wr = { .wr_id = id,
				  .opcode = opcode,
				  .sg_list = sges,
				  .num_sge = n,
				  .send_flags = IBV_SEND_SIGNALED };

	if (!remote)
		return wr;
	if (opcode == IBV_WR_ATOMIC_CMP_AND_SWP || opcode == IBV_WR_ATOMIC_FETCH_AND_ADD) {
		wr.wr.atomic.remote_addr = remote->addr + offset;
		wr.wr.atomic.rkey = remote->mr->rkey;
	} else {
		wr.wr.rdma.remote_addr = remote->addr + offset;
		wr.wr.rdma.rkey = remote->mr->rkey;
	}
	return wr;
}

int post(struct end *end, struct ibv_send_wr *wr)
{
	struct ibv_send_wr *bad = NULL, *w;
	int ret;

	for (w = wr; w && end->qp->qp_type == IBV_QPT_XRC_SEND; w = w->next)
		w->qp_type.xrc.remote_srqn = end->remote_srqn;
	ret = ibv_post_send(end->qp, wr, &bad);

	/* rxe doesn't set bad_wr in a state that permits no posting. */
	if (ret && !rdma_is_rxe())
		ck_assert_ptr_eq(bad, wr);
	return ret < 0 ? -ret : ret;
}

int post_receive(struct end *end, uint64_t id, struct ibv_sge *sges, int n)
{
	struct ibv_recv_wr wr = { .wr_id = id, .sg_list = sges, .num_sge = n }, *bad;
	int ret = end->srq ? ibv_post_srq_recv(end->srq, &wr, &bad) :
			     ibv_post_recv(end->qp, &wr, &bad);

	return ret < 0 ? -ret : ret;
}

struct ibv_wc completion(struct end *end)
{
	uint64_t until = now_ms() + PATIENCE_MS;
	unsigned int i;
	struct ibv_wc wc;
	int n;

	for (i = 0;; i++) {
		n = ibv_poll_cq(end->cq, 1, &wc);
		ck_assert_int_ge(n, 0);
		if (n)
			return wc;
		/* Polling takes a processor from the kernel's worker: poll less often later. */
		if (i > 100)
			usleep(i < 200 ? 200 : 2000);
		if (i % 64 == 63 && now_ms() > until)
			ck_abort_msg("queue pair %u: no completion in %d s",
				     end->qp ? end->qp->qp_num : 0, PATIENCE_MS / 1000);
	}
}

struct ibv_wc completes(struct end *end, uint64_t id, enum ibv_wc_status status)
{
	struct ibv_wc wc = completion(end);

	ck_assert_msg(wc.wr_id == id && wc.status == status,
		      "request %llu completes with '%s' (vendor error %u), not request %llu with '%s'",
		      (unsigned long long)wc.wr_id, ibv_wc_status_str(wc.status), wc.vendor_err,
		      (unsigned long long)id, ibv_wc_status_str(status));
	ck_assert_uint_eq(wc.qp_num, end->qp->qp_num);
	return wc;
}

void nothing_completes(struct end *end)
{
	struct ibv_wc wc;
	int i;

	for (i = 0; i < 20; i++) {
		ck_assert_msg(!ibv_poll_cq(end->cq, 1, &wc),
			      "request %llu completed with '%s', and nothing was to complete",
			      (unsigned long long)wc.wr_id, ibv_wc_status_str(wc.status));
		usleep(5000);
	}
}

void done(struct end *end, struct ibv_send_wr *wr)
{
	fails(end, wr, IBV_WC_SUCCESS);
}

void fails(struct end *end, struct ibv_send_wr *wr, enum ibv_wc_status status)
{
	int ret = post(end, wr);

	ck_assert_msg(!ret, "a send request cannot be posted: %s", strerror(ret));
	completes(end, wr->wr_id, status);
}

bool event_waits(struct end *end, enum ibv_event_type type, int milliseconds)
{
	uint64_t until = now_ms() + (uint64_t)milliseconds;
	struct pollfd p = { .fd = end->ctx->async_fd, .events = POLLIN };
	struct ibv_async_event event;

	for (;;) {
		uint64_t now = now_ms();

		if (now > until || poll(&p, 1, (int)(until - now)) != 1)
			return false;
		while (!ibv_get_async_event(end->ctx, &event)) {
			enum ibv_event_type got = event.event_type;

			ibv_ack_async_event(&event);
			if (got == type)
				return true;
		}
	}
}

void event_comes(struct end *end, enum ibv_event_type type)
{
	ck_assert_msg(event_waits(end, type, 10000), "there is no event '%s'",
		      ibv_event_type_str(type));
}

/* ---- between processes ---- */

void send_all(int sock, const void *data, size_t size)
{
	if (write(sock, data, size) != (ssize_t)size)
		lab_die("the other process does not listen");
}

void receive_all(int sock, void *data, size_t size)
{
	uint8_t *p = data;

	while (size) {
		ssize_t n = read(sock, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			lab_die("the other process is gone");
		p += n;
		size -= (size_t)n;
	}
}
